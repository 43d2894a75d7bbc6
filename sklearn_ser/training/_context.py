"""Random state and settings of torch during training, restored afterwards."""

import contextlib
import threading

import torch

from sklearn_ser._forks import INITIALIZATION, ForkSafeLock

# Initialisation and dropout use torch's global generators, so only one thread may train at a time.
_LOCK = ForkSafeLock(threading.RLock)


class TrainingContext:
    """Seed torch's global generators, and enable gradients and float32, within a block.

    Initialisation and dropout use torch's global generators. Within `active` these are seeded;
    afterwards their previous state is restored. Entering `active` again continues the sequence of
    random numbers, so that a training may leave it after each epoch.

    Parameters
    ----------
    seed : int
        Seed of the generators.
    device : str
        Device to train on.
    """

    def __init__(self, seed, device):
        self._shared = [torch.default_generator]
        self._gpus = []
        device = torch.device(device)
        if device.type == "cuda":
            torch.cuda.init()
            index = torch.cuda.current_device() if device.index is None else device.index
            self._shared.append(torch.cuda.default_generators[index])
            self._gpus.append(index)
        self._own = [torch.Generator(shared.device).manual_seed(seed) for shared in self._shared]

    @contextlib.contextmanager
    def active(self):
        """Enter the context; other threads that train or build a module wait."""
        with (
            _LOCK.held(),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(self._gpus),
            _float32_by_default(),
        ):
            for shared, own in zip(self._shared, self._own, strict=True):
                shared.set_state(own.get_state())
            try:
                yield
            finally:
                for shared, own in zip(self._shared, self._own, strict=True):
                    own.set_state(shared.get_state())

    @contextlib.contextmanager
    def initializing(self):
        """Enter the context to build a module; other threads that load a network wait too."""
        with self.active(), INITIALIZATION.held():
            yield

    def state_dict(self):
        """Return the states of the generators."""
        return {"generators": [own.get_state() for own in self._own]}

    def load_state_dict(self, state):
        """Set the states of the generators."""
        for own, values in zip(self._own, state["generators"], strict=True):
            own.set_state(values)


@contextlib.contextmanager
def _float32_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
