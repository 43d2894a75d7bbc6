"""Kill writers of a store at random times, let several write at once, and fill or lock their disk.

python benchmarks/store_trials.py

Each trial counts the entries that had been saved and are lost, and those that differ from what was
saved. It is as intended if the writer was killed before it was done, or if saving failed with one
warning and no error. It runs on POSIX systems.
"""

import argparse
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np

from sklearn_ser import EmbeddingStore

SHAPE = (13, 768)
N_KEYS = 150  # of each writer
BATCH_SIZE = 5  # keys saved in one transaction
N_WRITERS = 4
N_BEFORE = 20  # entries saved before the disk is full or read-only
NOBODY = 65534


def entry(key):
    """Return the array of a key."""
    return np.full(SHAPE, int(key), dtype=np.float32)


def save_entries(store, keys):
    """Save the entries of some keys in one transaction."""
    store.save("network", {str(key): entry(key) for key in keys})


def save_batches(folder, first):
    """Save entries in batches, and print the keys of each batch when it is saved."""
    for start in range(first, first + N_KEYS, BATCH_SIZE):
        keys = range(start, start + BATCH_SIZE)
        save_entries(EmbeddingStore(folder), keys)
        print(*keys, flush=True)


def start_writer(folder, first):
    """Start a process that saves entries."""
    command = [sys.executable, __file__, "--write", str(folder), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check(folder, saved, keys):
    """Return the numbers of lost and of wrong entries; the file itself must be intact."""
    found = EmbeddingStore(folder).load("network", keys)
    with closing(sqlite3.connect(Path(folder, "embeddings.sqlite"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    wrong = sum(not np.array_equal(array, entry(key)) for key, array in found.items())
    return len(set(saved) - set(found)), wrong


def kill_writers(folder, rng, n_writers):
    """Kill one of some writers at a random time; return the numbers of lost and wrong entries."""
    writers = [start_writer(folder, N_KEYS // 2 * number) for number in range(n_writers)]
    saved = writers[0].stdout.readline().split()  # it has started
    time.sleep(rng.uniform(0, 0.5))
    writers[0].kill()
    for writer in writers:
        saved += writer.communicate()[0].split()
    keys = [str(key) for key in range(N_KEYS // 2 * (n_writers + 1))]
    lost, wrong = check(folder, saved, keys)
    save_entries(EmbeddingStore(folder), range(N_KEYS))  # what it was to save
    again, wrong_again = check(folder, [*saved, *keys[:N_KEYS]], keys)
    return lost + again, wrong + wrong_again, writers[0].returncode == -signal.SIGKILL


def save_where_impossible(folder, hinder, share):
    """Save in a process that can't write, and return the numbers of lost and wrong entries."""
    save_entries(EmbeddingStore(folder), range(N_BEFORE))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            hinder(folder, share)
            status = 0 if goes_on(folder) else 1
        finally:
            os._exit(status)
    as_intended = os.waitpid(pid, 0)[1] == 0
    folder.chmod(0o700)
    lost, wrong = check(folder, map(str, range(N_BEFORE)), [str(key) for key in range(N_KEYS)])
    return lost, wrong, as_intended


def goes_on(folder):
    """Return whether saving warns once, and what was saved before is loaded."""
    store = EmbeddingStore(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for key in range(N_BEFORE, N_KEYS):
            save_entries(store, [key])
        found = store.load("network", [str(key) for key in range(N_BEFORE)])
    return len(caught) == 1 and len(found) == N_BEFORE


def fill_disk(folder, share):
    """Let files grow by a share of what is to be saved, as a full disk would."""
    size = (folder / "embeddings.sqlite").stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = size + int(share * (N_KEYS - N_BEFORE) * entry(0).nbytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def lock_folder(folder, _):
    """Make folder and file read-only, also for the superuser's process."""
    (folder / "embeddings.sqlite").chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


def repeat(name, n_trials, trial):
    """Repeat a trial in new folders, and print what came of it."""
    lost = wrong = n_met = 0
    started = time.monotonic()
    for _ in range(n_trials):
        with tempfile.TemporaryDirectory() as home:
            os.chmod(home, 0o755)
            folder = Path(home, "store")
            of_trial = trial(folder)
        lost, wrong, n_met = lost + of_trial[0], wrong + of_trial[1], n_met + of_trial[2]
    print(
        f"{name}: {n_trials} trials, {n_met} as intended, {lost} entries lost, {wrong} wrong, "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )


def main():
    """Run all trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        save_batches(arguments.write[0], int(arguments.write[1]))
        return
    rng = random.Random(arguments.seed)
    n_trials = arguments.trials
    repeat("a writer killed", n_trials, lambda folder: kill_writers(folder, rng, 1))
    repeat(
        f"one of {N_WRITERS} writers killed",
        n_trials // 4,
        lambda folder: kill_writers(folder, rng, N_WRITERS),
    )
    for name, hinder in (("a full disk", fill_disk), ("a read-only folder", lock_folder)):
        repeat(
            name,
            n_trials,
            lambda folder, hinder=hinder: save_where_impossible(folder, hinder, rng.random()),
        )


if __name__ == "__main__":
    main()
