"""Optional dependencies: importing them, and how to install what is missing."""

from importlib import import_module
from importlib.metadata import version

# The extras whose libraries import torchaudio.
_NEED_TORCHAUDIO = ("speechbrain", "encodec")


def installation(extra):
    """Return the sentence that says how to install an extra.

    The package is on no index yet: the command installs it from a checkout.
    """
    return (
        "Install it from the folder of your checkout of sklearn_ser: "
        f"pip install -c constraints.txt '.[{extra}]'"
    )


def import_extra(module, *, extra, needed_for):
    """Import a library of one of the package's extras.

    Parameters
    ----------
    module : str
        The module to import.
    extra : str
        The extra that installs it.
    needed_for : str
        What needs the library; the first words of the error.

    Returns
    -------
    module : module

    Raises
    ------
    ImportError
        If the library is not installed or cannot be imported, with the command that installs it.
    """
    try:
        return import_module(module)
    # torchaudio beside a torch that it was not built for fails in many ways.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ImportError(f"{needed_for} needs {_problem(module, extra, error)}") from error


def _problem(module, extra, error):
    """Return what is missing or broken, and the command that mends it."""
    package = module.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return f"the package {package!r}, which is not installed. {installation(extra)}"
    broken = torchaudio_error() if extra in _NEED_TORCHAUDIO else None
    if broken is not None and not isinstance(broken, ModuleNotFoundError):
        torch, torchaudio = version("torch"), version("torchaudio").partition("+")[0]
        fitting = _torchaudio_for(torch)
        if torchaudio != fitting:
            return (
                f"torchaudio, and torchaudio {torchaudio} does not run beside torch {torch}; "
                f"torchaudio {fitting} does: pip install 'torchaudio=={fitting}' "
                f"({type(broken).__name__}: {broken})"
            )
    return (
        f"the package {package!r}, which cannot be imported ({type(error).__name__}: {error}). "
        f"{installation(extra)}"
    )


def _torchaudio_for(torch):
    """Return the version of torchaudio that runs beside a version of torch."""
    major, minor = map(int, torch.split(".")[:2])
    if (major, minor) < (2, 11):
        return f"{major}.{minor}.*"
    # 2.11.1 needs a symbol that torch has since 2.13; 2.11.0 is refused by torch 2.15.
    return "2.11.0" if (major, minor) < (2, 13) else "2.11.1"


def torchaudio_error():
    """Return the exception that importing torchaudio raises, or None if it can be imported."""
    try:
        import_module("torchaudio")
    except Exception as error:  # a native library that does not load raises anything
        return error
    return None
