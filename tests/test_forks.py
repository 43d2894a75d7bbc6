"""A process that is forked after torch has run computes the same, and does not wait for ever."""

import os
import subprocess
import sys
import threading
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from sklearn_ser._forks import INITIALIZATION, ForkSafeLock
from sklearn_ser.backbones import _loading
from sklearn_ser.nn import precision
from sklearn_ser.training import _context

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
TESTS = Path(__file__).parent


def in_fork(function):
    """Return what a function returns in a forked process."""
    receiver, sender = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=lambda: sender.send(function()))
    child.start()
    try:
        assert receiver.poll(20), "the forked process hangs"
        return receiver.recv()
    finally:
        child.kill()
        child.join()


@pytest.mark.slow
def test_every_estimator_runs_in_a_fork():
    done = subprocess.run(
        [sys.executable, TESTS / "forked_estimators.py"],
        # Passive: threads that wait in loops would take the processors from other tests.
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "17 estimators\n"


def test_a_fork_has_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert in_fork(torch.get_num_threads) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "lock",
    [_loading._networks_lock, precision._LOCK, _context._LOCK, INITIALIZATION],
    ids=["networks", "precision", "training", "initialization"],
)
def test_a_lock_of_another_thread_is_free_in_a_fork(lock):
    def hold():
        with lock.held():
            entered.set()
            leave.wait(30)

    def enter():
        with lock.held():
            return "entered"

    entered, leave = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    try:
        assert in_fork(enter) == "entered"
    finally:
        leave.set()
        holder.join()


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_fork_leaves_the_block_that_it_was_forked_in(make):
    lock = ForkSafeLock(make)

    def enter_again():
        with lock.held():
            return "entered"

    with lock.held():
        assert in_fork(enter_again) == "entered"
    assert enter_again() == "entered"


def test_threads_of_one_process_wait_for_each_other():
    lock, order = ForkSafeLock(), []

    def enter():
        with lock.held():
            order.append("second")

    with lock.held():
        waiting = threading.Thread(target=enter)
        waiting.start()
        waiting.join(0.05)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
