"""Progress of a training: a bar while it runs, and a line for each epoch."""

import time
from datetime import timedelta

# With verbose="auto", the bar is shown after this time, in seconds.
_SECONDS_WITHOUT_BAR = 30


class Progress:
    """Report the recordings that were trained on, and the time left.

    The bar is shown in terminals and notebooks only. Use it as a context manager.

    Parameters
    ----------
    n_recordings : int
        Number of recordings of an epoch.
    n_epochs : int
        Number of epochs to come. If the training stops early, less time is left than reported.
    verbose : int, bool or "auto"
        If zero, nothing is shown; "auto" shows the bar after half a minute, and no lines.
    """

    def __init__(self, n_recordings, n_epochs, *, verbose):
        self._verbose, self._bar = verbose, None
        self._total, self._n_in_all = n_recordings * n_epochs, 0
        self._n_epochs, self._n_done, self._n_read = n_epochs, 0, 0
        self._start = self._start_of_epoch = time.monotonic()

    def __enter__(self):
        """Return the progress."""
        return self

    def __exit__(self, *error):
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def update(self, n_recordings):
        """Add recordings that were trained on."""
        self._n_read += n_recordings
        self._n_in_all += n_recordings
        if self._bar is not None:
            self._bar.update(n_recordings)
        elif self._verbose and self._is_due():
            self._bar = _open_bar(self._total, self._n_in_all)

    def _is_due(self):
        waits = self._verbose == "auto"
        return not waits or time.monotonic() - self._start >= _SECONDS_WITHOUT_BAR

    def end_epoch(self, history):
        """Print the last entries of a history, the time of the epoch and the time left."""
        now, self._n_done = time.monotonic(), self._n_done + 1
        left = (now - self._start) / self._n_done * (self._n_epochs - self._n_done)
        if self._bar is not None and self._verbose != "auto":
            self._bar.write(
                f"{_describe(history)} ({self._n_read} recordings in "
                f"{_as_time(now - self._start_of_epoch)}, {_as_time(left)} left)"
            )
        self._n_read, self._start_of_epoch = 0, now


def _open_bar(total, n_done):
    from tqdm.auto import tqdm

    settings = {"desc": "fit", "unit": " recordings", "leave": False, "disable": None}
    return tqdm(total=total, initial=n_done, **settings)


def _describe(history):
    epoch, *numbers = ((name, column[-1]) for name, column in history.items())
    return f"epoch {epoch[1]}: {', '.join(f'{name} {value:.4g}' for name, value in numbers)}"


def _as_time(seconds):
    """Return a duration as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
