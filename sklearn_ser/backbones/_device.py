"""Choice of the device and of the precision."""

import time
from functools import lru_cache

import torch

from sklearn_ser._warnings import warn

# "auto" takes bfloat16 if it is at least so many times as fast.
_MIN_GAIN = 1.5
# Size of the matrices, and number of measurements: some milliseconds at 100 GFLOP/s.
_SIZE, _N_REPEATS = 512, 5


def choose_device(device):
    """Return the name of a device, and check that it is available."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} can't be used here ({str(error).splitlines()[0]}); device='auto' "
            "uses a GPU if available, otherwise the CPU."
        ) from error
    return device


def choose_dtype(dtype, device):
    """Return a precision, and warn if bfloat16 is slower than float32 on this device.

    Parameters
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
        "auto" is bfloat16 if the device is measured to gain from it, else float32.
    device : str
        Name of the device.

    Returns
    -------
    dtype : torch.dtype
    """
    if dtype in ("auto", "bfloat16"):
        gain = bfloat16_gain(device)
        if dtype == "auto":
            return torch.bfloat16 if gain >= _MIN_GAIN else torch.float32
        if gain < 1:
            warn(
                f"bfloat16 is {1 / gain:.1f} times slower than float32 on this device ({device}): "
                "use dtype='float32', or dtype='auto', which measures it."
            )
    return getattr(torch, dtype)


@lru_cache
def bfloat16_gain(device):
    """Return how many times as fast matrices are multiplied in bfloat16 as in float32.

    It is measured once per process and device, with the shortest of several interleaved times.
    """
    generator = torch.Generator().manual_seed(0)
    exact = torch.rand(_SIZE, _SIZE, generator=generator).to(device)
    matrices = {dtype: exact.to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds = dict.fromkeys(matrices, float("inf"))
    with torch.inference_mode():
        for _ in range(_N_REPEATS):
            for dtype, matrix in matrices.items():
                seconds[dtype] = min(seconds[dtype], _time(matrix))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _time(matrix):
    """Return the seconds that a product takes."""
    start = time.perf_counter()
    # Copying a number to the CPU waits for a GPU to finish.
    float((matrix @ matrix)[0, 0])
    return time.perf_counter() - start
