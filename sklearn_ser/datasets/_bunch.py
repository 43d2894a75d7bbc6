"""What every loader returns: recordings, emotions and speakers as one ``Bunch``.

Imports NumPy and scikit-learn; pandas only on demand.
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
    recordings: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any],
    *,
    target: str = "emotion",
    outputs: Sequence[str] = (),
    groups: str | None = "speaker",
    emotions: Sequence[str] | Mapping[str, str] | None = None,
    known_emotions: Iterable[str] = (),
    descr: str,
    return_X_y: bool = False,
    as_frame: bool = False,
    **extra: Any,
) -> Any:
    """Choose the emotions and put what a loader found into a ``Bunch``.

    Parameters
    ----------
    recordings : list or ndarray of length n_recordings
        Paths as strings, or what else a recording may be.

    columns : dict of str to sequence of length n_recordings
        All that is known of each recording, `target` among it. Paths are added to the frame
        as its column "recording"; recordings that are no paths may bring one of their own.

    target : str, default="emotion"
        The column of emotions, which are predicted unless `outputs` names other columns.

    outputs : sequence of str, default=()
        Columns of numbers to predict, all at once, in place of the emotions.

    groups : str or None, default="speaker"
        The column that must not be split by cross-validation. None, or a name that is no
        column, if nothing is known.

    emotions : sequence of str, dict of str to str or None, default=None
        The emotions to keep, or the emotions to keep and their new names.

    known_emotions : iterable of str, default=()
        Emotions that may be asked for although no recording has them.

    descr : str
        The description.

    return_X_y : bool, default=False
        Whether to return recordings and target only.

    as_frame : bool, default=False
        Whether recordings, target and groups are pandas Series, or the target a DataFrame if
        there are `outputs`.

    **extra : sequences of length n_recordings
        Further arrays of the Bunch, filtered alike.

    Returns
    -------
    bunch : Bunch or tuple (recordings, target)
        With the keys recordings, target, target_names, groups, frame, DESCR and those of
        `extra`.
    """
    kept, labels = _choose_emotions(columns[target], emotions, known_emotions)
    recordings = _as_recordings(take(recordings, kept))
    columns = {name: take(values, kept) for name, values in columns.items()} | {target: labels}
    if _are_paths(recordings):
        columns = {"recording": recordings, **columns}
    speakers = columns.get(groups) if groups is not None else None
    y: Any = np.column_stack([columns[name] for name in outputs]) if outputs else labels
    frame = None
    if as_frame or not return_X_y:
        frame = _make_frame(columns, required=as_frame)
    if as_frame:
        recordings, y, speakers = _as_series(recordings, frame, list(outputs) or target, groups)
    if return_X_y:
        return recordings, y
    return Bunch(
        recordings=recordings,
        target=y,
        target_names=list(outputs) or sorted(set(labels.tolist())),
        groups=speakers,
        frame=frame,
        DESCR=descr,
        **{name: take(values, kept) for name, values in extra.items()},
    )


def _choose_emotions(labels, emotions, known_emotions):
    """Return the positions of the recordings to keep and their labels."""
    labels = np.asarray(labels, dtype=str)
    if emotions is None:
        return np.arange(len(labels)), labels
    names = _renaming(emotions)
    present = sorted(set(labels.tolist()))
    known = sorted({*present, *known_emotions})
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"emotions={emotions!r} names {', '.join(map(repr, unknown))}, which these recordings "
            f"do not have. They have {', '.join(map(repr, known))}."
        )
    kept = np.flatnonzero(np.isin(labels, list(names)))
    if not len(kept):
        raise ValueError(
            f"emotions={emotions!r} leaves none of the {len(labels)} recordings, whose emotions "
            f"are {', '.join(map(repr, present))}."
        )
    return kept, np.asarray([names[label] for label in labels[kept].tolist()], dtype=str)


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


def take(values, positions):
    """Index anything that has a length; only lists of waveforms stay lists."""
    if isinstance(values, np.ndarray):
        return values[positions]
    chosen = [values[position] for position in positions]
    scalars = all(isinstance(value, str | int | float | bool | np.generic) for value in chosen)
    return np.asarray(chosen) if scalars else chosen


def _as_recordings(recordings):
    """Return paths as an array of strings and anything else as it is."""
    if len(recordings) and all(isinstance(recording, str) for recording in recordings):
        return np.asarray(recordings, dtype=str)
    return recordings


def _are_paths(recordings):
    return isinstance(recordings, np.ndarray) and recordings.dtype.kind == "U"


def _make_frame(columns, required):
    """Return a DataFrame, or None if pandas is absent and not required."""
    try:
        import pandas as pd
    except ImportError as error:
        if required:
            raise ImportError(
                "as_frame=True needs pandas, which is not installed. Install it with "
                "`pip install pandas`, or leave as_frame=False for arrays."
            ) from error
        return None
    return pd.DataFrame(columns)


def _as_series(recordings, frame, target, groups):
    """Return recordings, target and groups as parts of the frame or with its index."""
    if _are_paths(recordings):
        X = frame["recording"]
    else:
        # A Series of waveforms of equal length must not become a table.
        cells = np.empty(len(recordings), dtype=object)
        cells[:] = list(recordings)
        X = type(frame.iloc[:, 0])(cells, index=frame.index, name="recording")
    return X, frame[target], frame.get(groups)
