"""Progress of the embedders: a bar, and tasks of scikit-learn's callbacks."""

from contextlib import contextmanager

# Parts into which scikit-learn's callbacks see a task divided, at most.
_MAX_PARTS = 100


class Progress:
    """Progress bar of the recordings or transcripts of one call, shown once a network runs.

    Parameters
    ----------
    name : str
        Name of the embedder.
    unit : str
        What is counted: "recordings" or "transcripts".
    verbose : bool
        Whether to show it.
    report : callable, default=None
        Called with `n_done` and `total` whenever `n_done` changes, see `announce_fit`.

    Attributes
    ----------
    total : int
        Number of recordings or transcripts to embed, or to load from the cache.
    n_done : int
        Number of those that are done.
    """

    def __init__(self, name, unit, verbose, report=None):
        self.name, self.unit, self.verbose = name, unit, verbose
        self.report = report
        self.total, self.n_done, self._bar = 0, 0, None

    def show(self):
        """Show the bar, before the network runs."""
        if self.verbose and self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                desc=self.name, total=self.total, initial=self.n_done, unit=f" {self.unit}"
            )

    def update(self, n):
        """Count recordings or transcripts as done."""
        self.n_done += n
        if self._bar is not None:
            self._bar.update(n)
        if self.report is not None:
            self.report(self.n_done, self.total)

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def announce_fit(transformer, X, y, *, task_name="fit", n_samples=0):
    """Begin the task of scikit-learn's callbacks for a method that fits, and end it.

    The subtasks are equal parts of the samples, a hundred at most, so that long inputs cost the
    callbacks no more than short ones.

    Parameters
    ----------
    transformer : transformer
        Transformer with callbacks, in whose method this is called.
    X, y
        Arguments of the method.
    task_name : str, default="fit"
        Name of the task.
    n_samples : int, default=0
        Number of samples to transform.

    Yields
    ------
    report : callable
        Takes the number of samples that are done, and of those to be done, and ends the parts
        that are done with them. What is not reported counts as done at the end.
    """
    data = {"estimator": transformer, "X": X, "y": y}
    n_parts, n_ended = min(n_samples, _MAX_PARTS), 0
    root = transformer._init_callback_context(task_name, max_subtasks=n_parts)
    root.call_on_fit_task_begin(**data)
    parts = _announce_parts(root, n_parts, data)
    next(parts, None)

    def report(n_done, total):
        nonlocal n_ended
        while n_ended < n_done * n_parts // total:
            next(parts, None)
            n_ended += 1

    yield report
    report(1, 1)
    root.call_on_fit_task_end(**data)


def _announce_parts(root, n_parts, data):
    """Begin each part when it is requested, and end it when the next one is."""
    for _ in range(n_parts):
        part = root.subcontext(task_name="part")
        part.call_on_fit_task_begin(**data)
        yield
        part.call_on_fit_task_end(**data)
