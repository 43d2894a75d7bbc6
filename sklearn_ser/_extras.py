"""Import optional dependencies, with installation instructions if they are missing."""

from importlib import import_module
from importlib.metadata import version

# The extras whose libraries import torchaudio.
_NEED_TORCHAUDIO = ("speechbrain", "encodec")


def install_hint(extra):
    """Return the instruction to install an extra.

    The package is not on PyPI yet, so the command installs it from a checkout.
    """
    return (
        "Install it from the folder of your checkout of sklearn_ser: "
        f"pip install -c constraints.txt '.[{extra}]'"
    )


def import_extra(module, *, extra, needed_for):
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Module to import.
    extra : str
        Extra that installs it.
    needed_for : str
        What needs the module; the error message begins with it.

    Returns
    -------
    module : module

    Raises
    ------
    ImportError
        If the module is not installed or cannot be imported. The message has the command that
        installs it.
    """
    try:
        return import_module(module)
    # torchaudio may raise any of these with a version of torch that it was not built for.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ImportError(f"{needed_for} needs {_explain_failure(module, extra, error)}") from error


def _explain_failure(module, extra, error):
    """Return which package is missing or broken, and the command that fixes it."""
    package = module.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return f"the package {package!r}, which is not installed. {install_hint(extra)}"
    broken = torchaudio_error() if extra in _NEED_TORCHAUDIO else None
    if broken is not None and not isinstance(broken, ModuleNotFoundError):
        torch, torchaudio = version("torch"), version("torchaudio").partition("+")[0]
        compatible = _compatible_torchaudio(torch)
        if torchaudio != compatible:
            return (
                f"torchaudio, and torchaudio {torchaudio} does not run with torch {torch}; "
                f"torchaudio {compatible} does: pip install 'torchaudio=={compatible}' "
                f"({type(broken).__name__}: {broken})"
            )
    return (
        f"the package {package!r}, which cannot be imported ({type(error).__name__}: {error}). "
        f"{install_hint(extra)}"
    )


def _compatible_torchaudio(torch):
    """Return the version of torchaudio that runs with a version of torch."""
    major, minor = map(int, torch.split(".")[:2])
    if (major, minor) < (2, 11):
        return f"{major}.{minor}.*"
    # torchaudio 2.11.1 needs a symbol added in torch 2.13; 2.11.0 does not load with torch 2.15.
    return "2.11.0" if (major, minor) < (2, 13) else "2.11.1"


def torchaudio_error():
    """Return the exception that importing torchaudio raises, or None if it can be imported."""
    try:
        import_module("torchaudio")
    except Exception as error:  # a native library may raise anything
        return error
    return None
