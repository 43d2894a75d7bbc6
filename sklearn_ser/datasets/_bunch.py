"""Build the ``Bunch`` that every loader returns.

pandas is imported when a corpus is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np
from sklearn.utils import Bunch

from sklearn_ser._sklearn import validate_params
from sklearn_ser._warnings import warn

Emotion = Literal[
    "anger",
    "boredom",
    "calm",
    "contempt",
    "disgust",
    "excitement",
    "fear",
    "frustration",
    "happiness",
    "neutral",
    "other",
    "sadness",
    "surprise",
]
# All loaders use these names, so that corpora can be joined without renaming.
EMOTIONS: tuple[str, ...] = get_args(Emotion)

_SHARED_PARAMETERS: dict[str, list[Any]] = {
    "emotions": ["array-like", Mapping, None],
    "return_X_y": ["boolean"],
    "as_frame": ["boolean"],
}


def validated_loader(**constraints):
    """Validate the parameters of a loader, including those shared by all loaders."""
    return validate_params(_SHARED_PARAMETERS | constraints, prefer_skip_nested_validation=True)


def read_descr(name):
    """Return the description of a corpus from the package's data."""
    return (files("sklearn_ser.datasets") / "descr" / f"{name}.rst").read_text(encoding="utf-8")


def make_bunch(
    columns: Any,
    *,
    waveforms: Sequence[np.ndarray] | None = None,
    outputs: Sequence[str] = (),
    votes: Any = None,
    title: str = "",
    emotions: Sequence[str] | Mapping[str, str] | None = None,
    known_emotions: Iterable[str] = (),
    keys: Mapping[str, str] | None = None,
    descr: str,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Select the emotions and put the recordings and their metadata into a ``Bunch``.

    Parameters
    ----------
    columns : DataFrame, or dict of columns, with n_recordings rows
        Metadata of each recording: "recording" unless `waveforms` is given, "emotion", "speaker"
        if the speakers are known, and any other columns.

    waveforms : sequence of ndarray of length n_recordings, default=None
        The recordings, if they are not a column of `columns`.

    outputs : sequence of str, default=()
        Numeric columns that form the target instead of the emotions.

    votes : DataFrame of shape (n_recordings, n_emotions), default=None
        Number of votes for each emotion. If given, the target is the share of each emotion among
        the votes for the selected ones. Recordings without such votes are skipped with a warning.

    title : str, default=""
        Name of the corpus, for this warning.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep. A dict maps the emotions to keep to their new names.

    known_emotions : iterable of str, default=()
        Emotions that are valid in `emotions` even if no recording has them.

    keys : dict of str to str, default=None
        Additional keys of the Bunch, and the columns whose values they hold.

    descr : str
        Description of the corpus.

    return_X_y : bool, default=False
        Whether to return recordings and target only.

    as_frame : bool, default=False
        Whether to return recordings, target and groups as pandas Series. With `outputs` or
        `votes` the target is a DataFrame.

    Returns
    -------
    bunch : Bunch or tuple (recordings, target)
        With the keys recordings, target, target_names, groups, frame, DESCR and those of `keys`.
    """
    import pandas as pd

    frame = pd.DataFrame(columns)
    if waveforms is not None:
        frame["recording"] = pd.Series(waveforms, dtype=object)
    if votes is None:
        frame = _select_emotions(frame, emotions, known_emotions).reset_index(drop=True)
        target = frame[list(outputs) or "emotion"]
    else:
        frame, target = _select_votes(frame, votes, emotions, title)
    recordings, groups = frame["recording"], frame.get("speaker")
    has_columns = target.ndim == 2
    if waveforms is not None:
        frame = frame.drop(columns="recording")
    names = list(target) if has_columns else sorted(set(frame["emotion"]))
    if not as_frame:
        recordings = _as_array(recordings) if waveforms is None else recordings.tolist()
        target = target.to_numpy() if has_columns else _as_array(target)
        groups = None if groups is None else _as_array(groups)
    if return_X_y:
        return recordings, target
    return Bunch(
        recordings=recordings,
        target=target,
        target_names=names,
        groups=groups,
        frame=frame,
        DESCR=descr,
        **{key: _as_array(frame[column]) for key, column in (keys or {}).items()},
    )


def _select_emotions(frame, emotions, known_emotions):
    """Return the rows of the selected emotions, renamed."""
    if emotions is None:
        return frame
    present = sorted(set(frame["emotion"]))
    names, shown = _check_emotions(emotions, {*present, *known_emotions})
    chosen = frame[frame["emotion"].isin(list(names))]
    if chosen.empty:
        raise ValueError(
            f"emotions={shown!r} selects none of the {len(frame)} recordings. Their emotions "
            f"are {', '.join(map(repr, present))}."
        )
    return chosen.assign(emotion=chosen["emotion"].map(names))


def _select_votes(frame, votes, emotions, title):
    """Return the recordings with votes for the selected emotions, and the shares of these votes."""
    if emotions is not None:
        names, _ = _check_emotions(emotions, votes)
        votes = votes[list(names)].T.groupby(names).sum().T
    votes = votes[sorted(votes)]
    totals = votes.sum(axis=1)
    n_without = int((totals == 0).sum())
    if n_without == len(votes):
        raise ValueError(f"{title}: no recording has votes for {', '.join(votes)}.")
    if n_without:
        warn(
            f"{title}: {n_without} of {len(votes)} recordings have no votes for "
            f"{', '.join(votes)} and are skipped."
        )
    shares = votes.div(totals, axis=0)[totals > 0].reset_index(drop=True)
    return frame[(totals > 0).to_numpy()].reset_index(drop=True), shares


def _check_emotions(emotions, known):
    """Return `emotions` as a dict from old to new names, and as shown in errors."""
    names = _as_mapping(emotions)
    shown = names if isinstance(emotions, Mapping) else list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"emotions={shown!r} names {', '.join(map(repr, unknown))}, which these recordings "
            f"do not have. They have {', '.join(map(repr, sorted(known)))}."
        )
    return names, shown


def _as_mapping(emotions):
    """Return `emotions` as a dict from old to new names."""
    # A string would be iterated over by its letters.
    if isinstance(emotions, str) or not len(emotions):
        raise ValueError(
            f"emotions={emotions!r} must be a list of emotions to keep, such as "
            f"['anger', 'neutral'], a dict from old to new names, such as "
            f"{{'calm': 'neutral', 'neutral': 'neutral'}}, or None for all of them."
        )
    if isinstance(emotions, Mapping):
        return {str(old): str(new) for old, new in emotions.items()}
    return {str(name): str(name) for name in emotions}


def _as_array(column):
    """Return a column as an array of numbers, of strings, or of objects with None if missing."""
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    values = column.to_numpy(dtype=object, na_value=None)
    return values.astype(str) if all(isinstance(value, str) for value in values) else values
