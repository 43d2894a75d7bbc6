"""Progress of a training: a bar while it runs, and a line for each epoch."""

import time
from datetime import timedelta


class Progress:
    """Report the recordings that were trained on, and the time left.

    The bar is shown in terminals and notebooks only. Use it as a context manager.

    Parameters
    ----------
    n_recordings : int
        Number of recordings of an epoch.
    n_epochs : int
        Number of epochs to come. If the training stops early, less time is left than reported.
    verbose : int or bool
        If zero, nothing is shown.
    """

    def __init__(self, n_recordings, n_epochs, *, verbose):
        self._bar = _open_bar(n_recordings * n_epochs) if verbose else None
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
        if self._bar is not None:
            self._bar.update(n_recordings)

    def end_epoch(self, history):
        """Print the last entries of a history, the time of the epoch and the time left."""
        now, self._n_done = time.monotonic(), self._n_done + 1
        left = (now - self._start) / self._n_done * (self._n_epochs - self._n_done)
        if self._bar is not None:
            self._bar.write(
                f"{_describe(history)} ({self._n_read} recordings in "
                f"{_as_time(now - self._start_of_epoch)}, {_as_time(left)} left)"
            )
        self._n_read, self._start_of_epoch = 0, now


def _open_bar(n_recordings):
    from tqdm.auto import tqdm

    return tqdm(total=n_recordings, desc="fit", unit=" recordings", leave=False, disable=None)


def _describe(history):
    epoch, *numbers = ((name, column[-1]) for name, column in history.items())
    return f"epoch {epoch[1]}: {', '.join(f'{name} {value:.4g}' for name, value in numbers)}"


def _as_time(seconds):
    """Return a duration as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
