"""What every loader returns: recordings, emotions and speakers as one ``Bunch``.

Imports NumPy and scikit-learn; pandas where a corpus is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np
from sklearn.utils import Bunch

from sklearn_ser._sklearn import validate_params

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
# The one vocabulary, so that corpora can be joined and compared without renaming.
EMOTIONS: tuple[str, ...] = get_args(Emotion)

_SHARED_PARAMETERS: dict[str, list[Any]] = {
    "emotions": ["array-like", Mapping, None],
    "return_X_y": ["boolean"],
    "as_frame": ["boolean"],
}


def validated_loader(**constraints):
    """Validate a loader's own parameters and those that all loaders share."""
    return validate_params(_SHARED_PARAMETERS | constraints, prefer_skip_nested_validation=True)


def read_descr(name):
    """Return the description of the corpus ``name`` that the package carries."""
    return (files("sklearn_ser.datasets") / "descr" / f"{name}.rst").read_text(encoding="utf-8")


def make_bunch(
    columns: Any,
    *,
    waveforms: Sequence[np.ndarray] | None = None,
    outputs: Sequence[str] = (),
    emotions: Sequence[str] | Mapping[str, str] | None = None,
    known_emotions: Iterable[str] = (),
    keys: Mapping[str, str] | None = None,
    descr: str,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Choose the emotions and put what a loader found into a ``Bunch``.

    Parameters
    ----------
    columns : DataFrame, or dict of columns, with n_recordings rows
        All that is known of each recording: "recording" unless there are `waveforms`, "emotion",
        "speaker" unless nothing is known of the speakers, and any other columns.

    waveforms : sequence of ndarray of length n_recordings, default=None
        The recordings, if they are not a column of the frame.

    outputs : sequence of str, default=()
        Columns of numbers to predict, all at once, in place of the emotions.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, or the emotions to keep and their new names.

    known_emotions : iterable of str, default=()
        Emotions that may be asked for although no recording has them.

    keys : dict of str to str, default=None
        Further keys of the Bunch and the columns that they hold as arrays.

    descr : str
        The description.

    return_X_y : bool, default=False
        Whether to return recordings and target only.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series, or the target a DataFrame if
        there are `outputs`.

    Returns
    -------
    bunch : Bunch or tuple (recordings, target)
        With the keys recordings, target, target_names, groups, frame, DESCR and those of `keys`.
    """
    import pandas as pd

    frame = pd.DataFrame(columns)
    if waveforms is not None:
        frame["recording"] = pd.Series(waveforms, dtype=object)
    frame = _choose_emotions(frame, emotions, known_emotions).reset_index(drop=True)
    recordings, groups = frame["recording"], frame.get("speaker")
    target = frame[list(outputs) or "emotion"]
    if waveforms is not None:
        frame = frame.drop(columns="recording")
    if not as_frame:
        recordings = _as_array(recordings) if waveforms is None else recordings.tolist()
        target = target.to_numpy() if outputs else _as_array(target)
        groups = None if groups is None else _as_array(groups)
    if return_X_y:
        return recordings, target
    return Bunch(
        recordings=recordings,
        target=target,
        target_names=list(outputs) or sorted(set(frame["emotion"])),
        groups=groups,
        frame=frame,
        DESCR=descr,
        **{key: _as_array(frame[column]) for key, column in (keys or {}).items()},
    )


def _choose_emotions(frame, emotions, known_emotions):
    """Return the rows of the emotions to keep, under their new names."""
    if emotions is None:
        return frame
    names = _renaming(emotions)
    present = sorted(set(frame["emotion"]))
    known = sorted({*present, *known_emotions})
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"emotions={emotions!r} names {', '.join(map(repr, unknown))}, which these recordings "
            f"do not have. They have {', '.join(map(repr, known))}."
        )
    chosen = frame[frame["emotion"].isin(list(names))]
    if chosen.empty:
        raise ValueError(
            f"emotions={emotions!r} leaves none of the {len(frame)} recordings, whose emotions "
            f"are {', '.join(map(repr, present))}."
        )
    return chosen.assign(emotion=chosen["emotion"].map(names))


def _renaming(emotions):
    """Return `emotions` as a dict from old to new names."""
    # A string would be read as the list of its letters.
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
    """Return a column of numbers, of text, or of objects with None where one is missing."""
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    values = column.to_numpy(dtype=object, na_value=None)
    return values.astype(str) if all(isinstance(value, str) for value in values) else values
