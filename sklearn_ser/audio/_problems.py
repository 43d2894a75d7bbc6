"""Why a recording can't be used, and what to warn about one that can."""

from contextlib import contextmanager
from contextvars import ContextVar

from sklearn_ser._warnings import warn

# Number of recordings that a message lists.
MAX_NAMED = 10


class UnusableRecording(ValueError):
    """The reason why one recording can't be used."""


@contextmanager
def explain_errors():
    """Raise `UnusableRecording` for any error: methods of recordings may raise anything."""
    try:
        yield
    except UnusableRecording:
        raise
    except Exception as error:
        reason = f"reading it failed ({type(error).__name__}: {error})"
        raise UnusableRecording(reason) from error


_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_notes():
    """Collect the notes of the recording that is read in this context, instead of warning.

    Yields
    ------
    notes : list of str
        Filled by `note`.
    """
    notes: list[str] = []
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def note(message):
    """Tell the caller what is odd about a recording that is used nevertheless.

    The caller adds its position and path. Without a caller that collects notes, warn at once.
    """
    notes = _collected.get()
    if notes is None:
        warn(f"A recording was read, but {message}.")
    else:
        notes.append(message)


def join_first(texts, max_named=MAX_NAMED):
    """Join texts by semicolons, the first ones only: "a; b; and 3 more"."""
    more = [f"and {len(texts) - max_named} more"] if len(texts) > max_named else []
    return "; ".join([*texts[:max_named], *more])
