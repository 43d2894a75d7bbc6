"""Corpora with label files: labels joined with recordings; arousal, valence and dominance."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_ser._warnings import warn

from ._bunch import make_bunch
from ._scan import some

DIMENSIONS = ("arousal", "valence", "dominance")
# The label of a recording on which no majority of the annotators agrees. Not an emotion.
NO_AGREEMENT = "no agreement"


def read_text(path: Path) -> str:
    """Return a label file's text, in UTF-8 or else in Windows-1252."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def unknown_classes(title: str, unknown: Counter[str], known: Iterable[str]) -> str:
    """Say which classes of the labels are not the corpus's, and what becomes of their turns."""
    listed = some(f"{name!r} ({n})" for name, n in unknown.most_common())
    return (
        f"{title}: {unknown.total()} turns have an unknown class and count as {NO_AGREEMENT!r}: "
        f"{listed}. Known are {', '.join(known)}."
    )


def join_labels(title: str, labels: Iterable[str], audio: Mapping[str, str]) -> list[str]:
    """Return the names that have both a label and a recording.

    Parameters
    ----------
    title : str
        The corpus's name.

    labels : iterable of str
        The names with a label.

    audio : dict of str to str
        The names with a recording, and its path.

    Returns
    -------
    names : list of str
        In the labels' order. A warning tells which have a label or a recording only.
    """
    labels = list(labels)
    both = [name for name in labels if name in audio]
    if not both:
        raise ValueError(
            f"{title}: none of the {len(labels)} labelled recordings is among the {len(audio)} "
            f"audio files. Labelled: {some(labels) or 'none'}. Files: {some(audio.values())}."
        )
    if len(both) < len(labels):
        missing = [name for name in labels if name not in audio]
        warn(
            f"{title}: {len(missing)} of {len(labels)} labelled recordings have no audio file and "
            f"are left out: {some(missing)}."
        )
    if len(both) < len(audio):
        unlabelled = sorted(set(audio) - set(labels))
        paths = some(audio[name] for name in unlabelled)
        warn(f"{title}: {len(unlabelled)} recordings have no label and are left out: {paths}.")
    return both


def choose_texts(title: str, names: Sequence[str], texts: Mapping[str, str]) -> np.ndarray:
    """Return the transcript of each name, None where there is none, and tell how many."""
    without = [name for name in names if name not in texts]
    if without:
        warn(
            f"{title}: {len(without)} of {len(names)} recordings have no transcript: "
            f"{some(without)}. Their text is None."
        )
    return np.array([texts.get(name) for name in names], dtype=object)


def make_dimensional_bunch(
    title: str,
    columns: Any,
    *,
    target: str,
    emotions: Sequence[str] | Mapping[str, str] | None,
    known_emotions: Iterable[str],
    keys: Mapping[str, str],
    **options: Any,
) -> Any:
    """Put a corpus that has emotions and dimensions into a ``Bunch``.

    Parameters
    ----------
    title : str
        The corpus's name.

    columns : DataFrame, or dict of columns, with n_recordings rows
        All that is known of each recording, its path, emotion and dimensions among it.

    target : {"emotion", "dimensions"}
        What to predict. Recordings without a number for a dimension are left out, with a warning,
        if the dimensions are.

    emotions : sequence of str, dict of str to str or None
        The emotions to keep, and their new names. None keeps all recordings if the dimensions
        are predicted and otherwise those with an agreed emotion.

    known_emotions : iterable of str
        The corpus's emotions.

    keys : dict of str to str
        Further keys of the Bunch and the columns they hold.

    **options : dict
        Passed to `make_bunch`.

    Returns
    -------
    bunch : Bunch or tuple (recordings, target)
        As from `make_bunch`, with the keys arousal, valence and dominance.
    """
    import pandas as pd

    known = list(known_emotions)
    by_emotion = target == "emotion"
    return make_bunch(
        _with_numbers(title, pd.DataFrame(columns), by_emotion),
        outputs=() if by_emotion else DIMENSIONS,
        emotions=known if emotions is None and by_emotion else emotions,
        known_emotions=[*known, NO_AGREEMENT],
        keys={**{name: name for name in DIMENSIONS}, **keys},
        **options,
    )


def _with_numbers(title, frame, by_emotion):
    """Return the recordings that the target allows."""
    numbers = np.isfinite(frame[list(DIMENSIONS)]).all(axis=1)
    n_without = int((~numbers).sum())
    if n_without:
        fate = "have NaN there" if by_emotion else "are left out"
        warn(
            f"{title}: {n_without} of {len(numbers)} recordings have no number for arousal, "
            f"valence or dominance and {fate}."
        )
    if not by_emotion and not numbers.any():
        raise ValueError(f"{title}: no recording has arousal, valence and dominance.")
    return frame if by_emotion else frame[numbers]
