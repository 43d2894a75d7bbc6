"""The machine and its rate of matrix products, by which networks are judged."""

import os
import platform
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = ("numpy", "scikit-learn", "soundfile", "torch", "transformers")
# Precision -> dtype. "tf32" is float32 whose products round their operands to 11 bits.
DTYPES = {"float32": "float32", "tf32": "float32", "bfloat16": "bfloat16"}


def describe_machine(device):
    """Return what the times depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def conditions(device, threads=(1, 2)):
    """Return what to measure networks with: a number of threads, or on a GPU a precision.

    Returns
    -------
    conditions : list of (int, str, str)
        The number of threads, a key of `DTYPES`, and a label.
    """
    if device == "cpu":
        return [(n, "float32", f"{n} thread{'s' * (n > 1)}") for n in threads]
    return [(torch.get_num_threads(), precision, precision) for precision in DTYPES]


@contextmanager
def arithmetic(n_threads, precision="float32"):
    """Set the number of threads of torch, and whether products and convolutions may use TF32."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = torch.get_num_threads(), [backend.fp32_precision for backend in backends]
    torch.set_num_threads(n_threads)
    for backend in backends:
        backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        for backend, setting in zip(backends, before[1], strict=True):
            backend.fp32_precision = setting


def matrix_product(device, precision="float32", size=2048):
    """Return a function that multiplies two matrices, and its floating-point operations."""
    size *= 1 if device == "cpu" else 4
    matrix = torch.rand(size, size, device=device).to(getattr(torch, DTYPES[precision]))
    # Copying a number to the CPU waits for a GPU to finish.
    return lambda: float((matrix @ matrix)[0, 0]), 2 * size**3


def matrix_rates(bench, measure):
    """Return the rates of a large product in GFLOP/s, by threads or precision."""
    rates = {}
    for n_threads, precision, label in conditions(bench.device):
        with arithmetic(n_threads, precision):
            product, n_operations = matrix_product(bench.device, precision)
            product()
            times = [measure(product).wall for _ in range(bench.n_runs)]
        rates[label] = [n_operations / seconds / 1e9 for seconds in times]
    return rates
