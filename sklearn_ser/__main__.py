"""Command line: ``python -m sklearn_ser predict`` labels a folder or a table of recordings."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_ser.audio import (
    RecordingError,
    SegmentOfFile,
    choose_column,
    describe,
    make_segments,
    resolve_path,
)

# Results are written after so many batches. Recordings of similar length share a batch.
_BATCHES_AT_ONCE = 4
_DEFAULT_BATCH_SIZE = 16
_DESCRIPTION = """\
Label a folder or a table of recordings, and write one row for each to a CSV file.

The columns of the output are the file (and start and end, if INPUT is a table with them), the
predicted label and the probability of each class, or the predicted targets, and an error. The
error is empty if the recording could be used; otherwise the other cells are. Files of a table are
as written there; those of a folder begin with the folder.

Rows that are already in the output are not computed again: after an interruption, run the same
command again. Remove rows to compute them again.
"""
_EXIT_STATUS = """\
exit status: 0 if all recordings could be used, 1 if there are errors in the output, 2 if the
command could not run.
"""


class Recording(NamedTuple):
    """A recording to label.

    Parameters
    ----------
    cells : tuple of str
        Its file, and its start and end if the table has them, as written to the output.
    source : str, SegmentOfFile or None
        The recording; None if its row is no segment of a file.
    error : str, default=""
        What is wrong with its row.
    """

    cells: tuple[str, ...]
    source: str | SegmentOfFile | None
    error: str = ""


class Predictor(NamedTuple):
    """A model that labels recordings.

    Parameters
    ----------
    columns : list of str
        Names of the outputs.
    predict : callable
        Maps a list of recordings to a list of rows of strings, one cell for each output.
    """

    columns: list[str]
    predict: Callable[[list], list[list[str]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments. If None, those of the process.

    Returns
    -------
    status : int
        0 if all recordings could be used, 1 if there are errors in the output, 2 if the command
        could not run.
    """
    options = _make_parser().parse_args(argv)
    try:
        return _predict(options)
    except (OSError, ValueError, ImportError) as error:
        print(f"python -m sklearn_ser predict: error: {error}", file=sys.stderr)
        return 2


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_ser", description="Speech emotion recognition."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    predict = commands.add_parser(
        "predict",
        help="label a folder or a table of recordings",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = predict.add_argument
    add(
        "model",
        metavar="MODEL",
        help="folder or hub id of a published network with its head, or the joblib or pickle file "
        "of a fitted estimator, such as a pipeline, whose input is recordings. Loading such a file "
        "can execute any code: only use files that you trust",
    )
    add(
        "input",
        metavar="INPUT",
        help="folder, in which audio files are found at any depth, or CSV file with a header and a "
        "column of paths (path, file, recording, audio ...), relative to the CSV file's folder, "
        "and optionally columns start and end, in seconds",
    )
    add("-o", "--output", metavar="CSV", required=True, help="CSV file to write or to continue")
    add("--column", help="name of the table's column of paths, if it has another name")
    add("--device", help="device of the network, such as cpu or cuda:1 (default: GPU if available)")
    add("--dtype", help="precision of the network: float32, bfloat16 or float16")
    add("--batch-size", type=int, help="maximum number of recordings in a batch")
    add("--n-jobs", type=int, help="number of threads that read recordings")
    add("--memory", metavar="FOLDER", help="cache of the network's outputs")
    add("--quiet", action="store_true", help="no progress on the standard error stream")
    return parser


def _predict(options):
    """Label the recordings that are not in the output yet, and return the exit status."""
    from tqdm import tqdm

    names, recordings = _find_recordings(options.input, options.column)
    predictor = _open_predictor(options)
    n_at_once = _BATCHES_AT_ONCE * (options.batch_size or _DEFAULT_BATCH_SIZE)
    header = [*names, *predictor.columns, "error"]
    done, n_errors = _read_output(Path(options.output), header, len(names))
    missing = [recording for recording in recordings if recording.cells not in done]
    with (
        open(options.output, "a", newline="", encoding="utf-8") as file,
        tqdm(
            total=len(recordings),
            initial=len(recordings) - len(missing),
            unit=" recordings",
            disable=options.quiet,
        ) as progress,
    ):
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(header)
        for start in range(0, len(missing), n_at_once):
            some = missing[start : start + n_at_once]
            rows = _label(predictor, some)
            writer.writerows([*r.cells, *row] for r, row in zip(some, rows, strict=True))
            file.flush()
            progress.update(len(some))
            n_errors += sum(row[-1] != "" for row in rows)
    if n_errors:
        print(f"{n_errors} recordings could not be used: see {options.output}", file=sys.stderr)
    return 1 if n_errors else 0


# Recordings


def _find_recordings(source, column):
    """Return the names of their columns in the output, and the recordings, each once."""
    path = Path(source).expanduser()
    if path.is_dir():
        from sklearn_ser.datasets._scan import find_audio

        files = [str(path / name) for name in find_audio(path)]
        if not files:
            raise FileNotFoundError(f"The folder {source!r} contains no audio files.")
        return ["file"], [Recording((file,), file) for file in files]
    if not path.is_file():
        raise FileNotFoundError(f"{source!r} is neither a folder nor a CSV file.")
    return _read_table(path, column)


def _read_table(path, column):
    from sklearn_ser.datasets._table import read_csv

    name = f"the table {str(path)!r}"
    table = read_csv(path, name, "Save the table as CSV in UTF-8.")
    header = list(table.frame)
    columns = {
        "file": choose_column(header, "recording", column, parameter="--column", table=name),
        "start": choose_column(header, "start", table=name, optional=True),
        "end": choose_column(header, "end", table=name, optional=True),
    }
    columns = {kind: column for kind, column in columns.items() if column is not None}
    rows = zip(*(table.frame[column].str.strip() for column in columns.values()), strict=True)
    recordings = [_read_row(cells, tuple(columns), table.folder) for cells in dict.fromkeys(rows)]
    return list(columns), recordings


def _read_row(cells, kinds, folder):
    """Return the recording of one row of a table."""
    row = dict(zip(kinds, cells, strict=True))
    if not row["file"]:
        return Recording(cells, None, "the path is empty")
    file = resolve_path(os.path.join(folder, row["file"]))
    if not row.get("start") and not row.get("end"):
        return Recording(cells, file)
    try:
        (segment,) = make_segments([file], [row.get("start")], [row.get("end")], table="the table")
    except ValueError as error:
        return Recording(cells, None, str(error.__cause__))
    return Recording(cells, segment)


# Model


def _open_predictor(options):
    estimator = _open_estimator(options.model)
    for name in ("device", "dtype", "batch_size", "n_jobs", "memory"):
        value = getattr(options, name)
        if value is not None:
            _set_parameter(estimator, name, value)
    # Errors are collected here.
    full = [name for name in estimator.get_params() if name.split("__")[-1] == "on_error"]
    estimator.set_params(**dict.fromkeys(full, "raise"))
    return _make_predictor(estimator)


def _open_estimator(model):
    """Return the estimator of a published network or of a file."""
    path = Path(model).expanduser()
    if path.is_dir():
        return _open_published(path)
    if not path.is_file():
        if path.suffix in (".joblib", ".pickle", ".pkl"):
            raise FileNotFoundError(f"There is no file {model!r}.")
        return _open_published(model)
    import joblib

    try:
        estimator = joblib.load(path)
    except Exception as error:  # unpickling may raise anything
        raise ValueError(
            f"{model!r} can't be loaded ({type(error).__name__}: {error}). It must be written by "
            "joblib.dump or pickle, and needs the packages that it was written with."
        ) from error
    if not hasattr(estimator, "predict") or not hasattr(estimator, "get_params"):
        raise ValueError(f"{model!r} holds a {type(estimator).__name__}, which does not predict.")
    return getattr(estimator, "best_estimator_", estimator)


def _open_published(model):
    from sklearn_ser.backbones import load_backbone
    from sklearn_ser.estimators import PretrainedEmotionClassifier, PretrainedEmotionRegressor

    backbone = load_backbone(model, family="head", device="cpu", dtype="float32")
    is_regression = backbone.task == "regression"
    return (PretrainedEmotionRegressor if is_regression else PretrainedEmotionClassifier)(model)


def _set_parameter(estimator, name, value):
    """Set a parameter of an estimator and of the steps in it."""
    from sklearn.pipeline import Pipeline

    parameters = estimator.get_params()
    owners = {key: parameters.get(key.rpartition("__")[0], estimator) for key in parameters}
    full = [
        key
        for key, owner in owners.items()
        # A pipeline's own parameters of these names have other meanings.
        if key.split("__")[-1] == name and not isinstance(owner, Pipeline)
    ]
    if not full:
        raise ValueError(
            f"--{name.replace('_', '-')} is not a parameter of this {type(estimator).__name__}, "
            "nor of its steps: leave it out."
        )
    estimator.set_params(**dict.fromkeys(full, value))


def _make_predictor(estimator):
    from sklearn.base import is_regressor

    transform, last = _split(estimator)
    # Half a second of noise: shows whether the model takes recordings, before any is read.
    noise = np.random.default_rng(0).normal(0, 0.01, 8000).astype(np.float32)
    probe = transform([(noise, 16000)])
    if is_regressor(last):
        columns = _target_names(last, np.ravel(last.predict(probe)).size)
        return Predictor(columns, lambda X: _targets(last, transform(X)))
    if not hasattr(last, "predict_proba"):
        last.predict(probe)
        return Predictor(["label"], lambda X: [[str(c)] for c in last.predict(transform(X))])
    last.predict_proba(probe)
    columns = ["label", *(f"probability_{name}" for name in last.classes_)]
    return Predictor(columns, lambda X: _probabilities(last, transform(X)))


def _split(estimator):
    """Return a function that transforms recordings once, and the estimator that follows."""
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform, estimator[-1]
    return lambda X: X, estimator


def _target_names(regressor, n_targets):
    names = getattr(regressor, "target_names_", None)
    if names is not None:
        return [str(name) for name in names]
    return ["prediction", *(f"prediction_{i}" for i in range(1, n_targets))]


def _targets(regressor, X):
    return [_format(np.atleast_1d(row)) for row in np.asarray(regressor.predict(X))]


def _format(values):
    return [f"{value:.6g}" for value in values]


def _probabilities(classifier, X):
    """Return the label and the probabilities. Labels may depend on thresholds."""
    from sklearn_ser.estimators import PretrainedEmotionClassifier

    probabilities = classifier.predict_proba(X)
    if isinstance(classifier, PretrainedEmotionClassifier):  # saves the second pass
        labels = classifier.classes_[probabilities.argmax(axis=1)]
    else:
        labels = classifier.predict(X)
    return [[str(label), *_format(row)] for label, row in zip(labels, probabilities, strict=True)]


# Output


def _read_output(path, header, n_names):
    """Return the recordings of the rows in the output, and the number of rows with errors.

    The last row is removed from the file if it is incomplete.
    """
    if not path.exists():
        return set(), 0
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    rows = [row for row in csv.reader(io.StringIO(complete.decode(), newline="")) if row]
    if content and rows[:1] != [header]:
        raise ValueError(
            f"The first line of {str(path)!r} is not {','.join(header)!r}: it is the output of "
            "another model or table, or another file. Choose another output."
        )
    os.truncate(path, len(complete))
    return {tuple(row[:n_names]) for row in rows[1:]}, sum(row[-1] != "" for row in rows[1:])


def _label(predictor, recordings):
    """Return the outputs and the error of each recording, as strings."""
    empty = [""] * len(predictor.columns)
    rows = [[*empty, recording.error] for recording in recordings]
    usable = [i for i, recording in enumerate(recordings) if not recording.error]
    for position, row in zip(
        usable, _predict_each(predictor, [recordings[i].source for i in usable]), strict=True
    ):
        rows[position] = [*empty, row] if isinstance(row, str) else [*row, ""]
    return rows


def _predict_each(predictor, recordings) -> list[Any]:
    """Return the outputs of each recording, or an error message if it can't be used."""
    if not recordings:
        return []
    try:
        rows: list[Any] = predictor.predict(recordings)
    except RecordingError as error:
        rows = [_message(recordings[i], error.problems.get(i)) for i in range(len(recordings))]
        others = [i for i, row in enumerate(rows) if row is None]
        if len(others) == len(recordings):  # of another sequence of recordings
            raise
        retried = _predict_each(predictor, [recordings[i] for i in others])
        for position, row in zip(others, retried, strict=True):
            rows[position] = row
        return rows
    except MemoryError as error:  # names a window that is too long
        if len(recordings) == 1:
            return [str(error) or "out of memory"]
        half = len(recordings) // 2
        halves = recordings[:half], recordings[half:]
        return [row for part in halves for row in _predict_each(predictor, part)]
    not_finite = {"nan", "inf", "-inf"}
    return [row if not_finite.isdisjoint(row) else "the output is not finite" for row in rows]


def _message(recording, problem):
    """Return a problem without the path, which has a column of its own."""
    return None if problem is None else problem.removeprefix(f"{describe(recording)}: ")


if __name__ == "__main__":
    sys.exit(main())
