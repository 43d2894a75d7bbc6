"""Interleaved comparisons of functions, and the rows of the table."""

import os
import resource
import statistics
import time
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from sklearn_ser.datasets import load_emodb

from ._counts import count_calls

RATE = 16000


class NotMeasured(Exception):
    """Data, weights or a package that a claim needs is not at hand."""


class Seconds(NamedTuple):
    """Wall-clock time, and CPU time of all threads and of finished child processes."""

    wall: float
    cpu: float


class Goal(NamedTuple):
    """A lower or upper limit of a value."""

    sign: str
    limit: float
    unit: str

    def __str__(self):
        return f"{self.sign} {self.limit:g} {self.unit}"

    def is_reached(self, value):
        """Return whether a value is on the right side of the limit."""
        return value >= self.limit if self.sign == "≥" else value <= self.limit


def at_least(limit, unit="×"):
    """Return the goal of a speed-up, or of another value that should be high."""
    return Goal("≥", limit, unit)


def at_most(limit, unit="×"):
    """Return the goal of a cost relative to a rival, or of another value that should be low."""
    return Goal("≤", limit, unit)


class Row(NamedTuple):
    """A claim and what was measured.

    Attributes
    ----------
    what, against : str
        What is compared.
    goal : Goal or None
        The claim is reached if the median of `wall` is.
    wall, cpu : list of float
        Values of each run by wall-clock time and by CPU time. Values that are not times are in
        `wall`.
    unit : str
        Unit of the values.
    runs : dict of str to list of Seconds
        The times themselves.
    """

    what: str
    against: str
    goal: Goal | None
    wall: list[float]
    cpu: list[float]
    unit: str
    runs: dict[str, list[Seconds]]

    @property
    def is_reached(self):
        """Whether the goal is reached; None if there is none."""
        return self.goal and self.goal.is_reached(statistics.median(self.wall))

    def __str__(self):
        reached = {None: "", True: "yes", False: "no"}[self.is_reached]
        values = (_summarize(values, self.unit) for values in (self.wall, self.cpu))
        return (
            f"| {' | '.join((self.what, self.against, str(self.goal or ''), *values, reached))} |"
        )


def _summarize(values, unit):
    """Return the median and the range of values."""
    if not values:
        return ""
    digits = 2 if unit == "×" and max(values) < 100 else 0
    middle, low, high = statistics.median(values), min(values), max(values)
    spread = f" ({low:.{digits}f} to {high:.{digits}f})" if len(values) > 1 else ""
    return f"{middle:.{digits}f} {unit}{spread}"


def compare(what, against, runs, ours, theirs, goal=None):
    """Return the row of two rivals: their time ÷ ours, or ours ÷ theirs if the goal is a maximum.

    Parameters
    ----------
    what, against : str
        Names for the table.
    runs : dict of str to list of Seconds
        Interleaved runs.
    ours, theirs : str
        Keys of `runs`.
    goal : Goal, default=None
    """
    pair = (ours, theirs) if goal and goal.sign == "≤" else (theirs, ours)
    wall, cpu = (
        [high / low for high, low in zip(*(by_clock(runs[name], i) for name in pair), strict=True)]
        for i in range(2)
    )
    return Row(what, against, goal, wall, cpu, "×", {name: runs[name] for name in (ours, theirs)})


def by_clock(runs, clock):
    """Return the wall-clock (0) or CPU (1) times of runs."""
    return [seconds[clock] for seconds in runs]


def measure(work):
    """Return the `Seconds` of a function."""
    cpu, wall = _cpu_seconds(), time.perf_counter()
    work()
    return Seconds(time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Bench:
    """What the claims share: sizes, inputs and the comparison.

    Parameters
    ----------
    mode : {"full", "quick", "smoke"}
        "smoke" runs everything once, on tiny networks and noise, and counts.
    folder : path
        For networks, files and stores; removed afterwards.
    data, weights : path or None
        Folders of corpora and of pretrained networks.
    device : str
        Device of the torch claims.

    Attributes
    ----------
    counts : list of tuple (what, count, promised)
        What was counted in the mode "smoke".
    """

    def __init__(self, mode, folder, *, data=None, weights=None, device="cpu"):
        self.mode, self.folder, self.device = mode, Path(folder), device
        self._homes = {"data": data, "weights": weights}
        self.n_runs = self.size(5, 3, 1)
        self.counts = []

    def size(self, full, quick, smoke):
        """Return the one of three sizes that belongs to the mode."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.mode]

    @property
    def is_smoke(self):
        """Whether to count instead of measuring."""
        return self.mode == "smoke"

    def find(self, kind, name):
        """Return the folder of a corpus ("data") or network ("weights")."""
        home = None if self.is_smoke else self._homes[kind]
        if home is None or not Path(home, name).exists():
            raise NotMeasured(f"{name} is not at hand; see --{kind}")
        return str(Path(home, name))

    def run(self, rivals, promised=None, *, warm_up=True, n_runs=None):
        """Run rivals in turn, several times, after a run that is not measured.

        Parameters
        ----------
        rivals : dict of str to callable
            What to compare.
        promised : dict of str to dict of str to int, default=None
            Counts of a rival that the mode "smoke" checks; see `count_calls`.
        warm_up : bool, default=True
            Whether there is an unmeasured run.
        n_runs : int, default=None
            Number of runs. If None, that of the mode.

        Returns
        -------
        runs : dict of str to list of Seconds
        """
        for work in rivals.values() if warm_up and not self.is_smoke else ():
            work()
        runs = {name: [] for name in rivals}
        for _ in range(n_runs or self.n_runs):
            for name, work in rivals.items():
                with count_calls(self.is_smoke) as counts:
                    runs[name].append(measure(work))
                for what, number in (promised or {}).get(name, {}).items():
                    self.check(f"{name}: {what}", counts[what], number)
        return runs

    def check(self, what, count, promised):
        """Record a count in the mode "smoke"."""
        if self.is_smoke:
            self.counts.append((what, count, promised))

    @cached_property
    def corpus(self):
        """Paths, emotions and speakers of Emo-DB; in the mode "smoke", of noise."""
        if self.is_smoke:
            positions = np.arange(8)
            paths = self.write_noise("smoke", 0.1 + 0.04 * positions, ["flac"])
            return paths, (positions % 2).astype(str), positions // 2 % 2
        corpus = load_emodb(self.find("data", "emodb"))
        return corpus.recordings, np.asarray(corpus.target), np.asarray(corpus.groups)

    def rows(self, n):
        """Return the positions of recordings, spread over the corpus."""
        return np.linspace(0, len(self.corpus[0]) - 1, n).astype(int)

    def recordings(self, n):
        """Return their paths."""
        return [self.corpus[0][row] for row in self.rows(n)]

    def waveforms(self, n):
        """Return their waveforms."""
        return [soundfile.read(path, dtype="float32")[0] for path in self.recordings(n)]

    def write_noise(self, name, seconds, formats):
        """Write noise of each duration, in formats by turns, and return the paths."""
        rng = np.random.default_rng(0)
        paths = []
        os.makedirs(self.folder / name)
        for number, duration in enumerate(seconds):
            path = self.folder / name / f"{number}.{formats[number % len(formats)]}"
            soundfile.write(path, rng.uniform(-0.5, 0.5, round(duration * RATE)), RATE)
            paths.append(str(path))
        return paths
