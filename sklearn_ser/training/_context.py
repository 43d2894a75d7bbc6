"""Training and building without a trace in torch's global state."""

import contextlib
import threading

import torch

# Layers draw weights and dropout from torch's global generators: one thread at a time.
_LOCK = threading.RLock()


class TrainingContext:
    """Seeded random numbers, gradients and float32, whatever the user has set around them.

    Modules initialise themselves, and dropout draws, from torch's global generators. Within
    `active` these are seeded; outside, they are as if nothing had happened. A second time within
    goes on where the first one stopped, so that a training may leave it after each epoch.

    Parameters
    ----------
    seed : int
        Of the random numbers.
    device : str
        Where to train.
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
        """Enter; other threads that train or build a module wait meanwhile."""
        with (
            _LOCK,
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
def _float32_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
