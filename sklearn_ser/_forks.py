"""Let forked processes run torch: one thread, and locks that no other thread holds.

Every module that runs torch imports this one, through the locks. It does not import torch.

After a fork, the child process has only the thread that forked. OpenMP, which torch uses, still
counts on the threads of the parent, and the first operation that is split among them waits for
ever. With one thread, operations are not split. Other threads of the child, and processes that are
spawned, are not affected.
"""

import contextlib
import os
import sys
import threading
import weakref

_LOCKS: weakref.WeakSet = weakref.WeakSet()


class ForkSafeLock:
    """A lock for `with` statements that is free in a forked process.

    Parameters
    ----------
    make : callable, default=threading.Lock
        Returns the lock: `threading.Lock` or `threading.RLock`.
    """

    def __init__(self, make=threading.Lock):
        self._make = make
        self.renew()
        _LOCKS.add(self)

    def renew(self):
        """Replace the lock by a free one."""
        self._lock = self._make()

    @contextlib.contextmanager
    def held(self):
        """Hold the lock within a block."""
        with self._lock:  # the same object is released, also in a process forked within the block
            yield


# Held while a module gets its initial weights, and while a network is loaded: transformers then
# replaces torch's initialisation functions, for all threads. A training does not hold it, since it
# may wait for threads that load a network.
INITIALIZATION = ForkSafeLock(threading.RLock)


def _adapt_to_fork():
    for lock in _LOCKS:
        lock.renew()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_adapt_to_fork)
