"""Progress bar of the embedders."""


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

    Attributes
    ----------
    total : int
        Number of recordings or transcripts to embed, or to load from the cache.
    n_done : int
        Number of those that are done.
    """

    def __init__(self, name, unit, verbose):
        self.name, self.unit, self.verbose = name, unit, verbose
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

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
