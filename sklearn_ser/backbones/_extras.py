"""Libraries that not every installation has."""

from importlib import import_module


def import_extra(module, *, extra, needed_for):
    """Import a library of one of the package's extras.

    Parameters
    ----------
    module : str
        The module to import.
    extra : str
        The extra that brings it.
    needed_for : str
        What can't be done without.

    Returns
    -------
    module : module

    Raises
    ------
    ImportError
        If it is not installed, or does not import here, with the command that installs it.
    """
    try:
        return import_module(module)
    # Where torchaudio is of another version than torch, an import fails in many ways.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ImportError(
            f"{needed_for} needs the package {module.partition('.')[0]!r}, which can't be imported "
            f"here ({type(error).__name__}: {error}): pip install 'sklearn-ser[{extra}]'"
        ) from error
