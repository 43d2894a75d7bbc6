"""Corpora with label files, and with arousal, valence and dominance as targets."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_ser._warnings import warn

from ._bunch import make_bunch
from ._scan import some

DIMENSIONS = ("arousal", "valence", "dominance")
# Label of recordings without a majority among the annotators. It is not an emotion.
NO_AGREEMENT = "no agreement"


def read_text(path: Path) -> str:
    """Read a label file in UTF-8, or in Windows-1252 if it is not valid UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def warn_unknown_classes(title: str, unknown: Counter[str], known: Iterable[str]) -> None:
    """Warn about labels that are not classes of the corpus."""
    if unknown:
        listed = some(f"{name!r} ({n})" for name, n in unknown.most_common())
        warn(
            f"{title}: {unknown.total()} turns have an unknown class and are labelled "
            f"{NO_AGREEMENT!r}: {listed}. Known classes are {', '.join(known)}."
        )


def join_labels(title: str, labels: Iterable[str], audio: Mapping[str, str]) -> list[str]:
    """Return the names that have both a label and a recording.

    Parameters
    ----------
    title : str
        Name of the corpus.

    labels : iterable of str
        The names with a label.

    audio : dict of str to str
        The names with a recording, and the path of the recording.

    Returns
    -------
    names : list of str
        In the order of `labels`. A warning lists the names that have only one of the two.
    """
    labels = list(labels)
    both = [name for name in labels if name in audio]
    if not both:
        raise ValueError(
            f"{title}: none of the {len(labels)} labelled recordings is among the {len(audio)} "
            f"audio files. Labelled: {some(labels) or 'none'}. Found: {some(audio.values())}."
        )
    if len(both) < len(labels):
        missing = [name for name in labels if name not in audio]
        warn(
            f"{title}: {len(missing)} of {len(labels)} labelled recordings have no audio file and "
            f"are skipped: {some(missing)}."
        )
    if len(both) < len(audio):
        unlabelled = sorted(set(audio) - set(labels))
        paths = some(audio[name] for name in unlabelled)
        warn(f"{title}: {len(unlabelled)} recordings have no label and are skipped: {paths}.")
    return both


def match_transcripts(title: str, names: Sequence[str], texts: Mapping[str, str]) -> np.ndarray:
    """Return the transcript of each name, or None if it has none, and warn how many have none."""
    without = [name for name in names if name not in texts]
    if without:
        warn(
            f"{title}: {len(without)} of {len(names)} recordings have no transcript: "
            f"{some(without)}. Their transcript is None."
        )
    return np.array([texts.get(name) for name in names], dtype=object)


def make_dimensional_bunch(
    title: str,
    columns: Any,
    *,
    target: str,
    votes: Any = None,
    emotions: Sequence[str] | Mapping[str, str] | None,
    known_emotions: Iterable[str],
    keys: Mapping[str, str],
    **options: Any,
) -> Any:
    """Build the ``Bunch`` of a corpus that is labelled with emotions and dimensions.

    Parameters
    ----------
    title : str
        Name of the corpus.

    columns : DataFrame, or dict of columns, with n_recordings rows
        Metadata of each recording, including its path, emotion and dimensions.

    target : {"emotion", "dimensions", "votes"}
        The target. With "dimensions", recordings without a value for one of them are skipped
        with a warning.

    votes : DataFrame of shape (n_recordings, n_emotions), default=None
        Number of votes for each emotion. Required by ``target="votes"``.

    emotions : sequence of str, dict of str to str or None
        The emotions to keep. A dict maps them to new names. None keeps the recordings with an
        agreed emotion if ``target="emotion"``, else all.

    known_emotions : iterable of str
        The emotions of the corpus.

    keys : dict of str to str
        Additional keys of the Bunch, and the columns whose values they hold.

    **options : dict
        Passed to `make_bunch`.

    Returns
    -------
    bunch : Bunch or tuple (recordings, target)
        The result of `make_bunch`, with the additional keys arousal, valence and dominance.
    """
    import pandas as pd

    known = list(known_emotions)
    by_emotion, by_dimensions = target == "emotion", target == "dimensions"
    return make_bunch(
        _select_rated(title, pd.DataFrame(columns), by_dimensions),
        outputs=DIMENSIONS if by_dimensions else (),
        votes=votes,
        title=title,
        emotions=known if emotions is None and by_emotion else emotions,
        known_emotions=[*known, NO_AGREEMENT],
        keys={**{name: name for name in DIMENSIONS}, **keys},
        **options,
    )


def _select_rated(title, frame, by_dimensions):
    """Warn about missing ratings, and drop their recordings if the dimensions are the target."""
    is_rated = np.isfinite(frame[list(DIMENSIONS)]).all(axis=1)
    n_unrated = int((~is_rated).sum())
    if n_unrated:
        consequence = "are skipped" if by_dimensions else "have NaN instead"
        warn(
            f"{title}: {n_unrated} of {len(frame)} recordings have no rating of arousal, valence "
            f"or dominance and {consequence}."
        )
    if by_dimensions and not is_rated.any():
        raise ValueError(f"{title}: no recording has arousal, valence and dominance.")
    return frame[is_rated] if by_dimensions else frame
