"""The command line labels folders and tables of recordings."""

import csv
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sklearn_ser import LogMelSpectrogram, PretrainedEmotionClassifier, PretrainedEmotionRegressor
from sklearn_ser.__main__ import main
from sklearn_ser.audio import SegmentOfFile
from small_networks import make_network, save_network, small_network

RATE = 16000
PROBABILITIES = [f"probability_{name}" for name in ("anger", "happiness", "neutral", "sadness")]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three recordings, one of them below, and a file that is none."""
    folder = tmp_path / "speech"
    (folder / "day2").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 1.0), ("b.flac", 0.4), ("day2/c.wav", 0.7)):
        soundfile.write(folder / name, 0.1 * rng.standard_normal(int(seconds * RATE)), RATE)
    (folder / "notes.txt").write_text("no recording")
    return folder


def _files(folder):
    return [str(folder / name) for name in ("a.wav", "b.flac", "day2/c.wav")]


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _values(rows, columns):
    return np.array([[float(row[name]) for name in columns] for row in rows])


def _save(estimator, folder):
    path = folder / "model.joblib"
    joblib.dump(estimator, path)
    return str(path)


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sklearn_ser", *map(str, arguments)], capture_output=True, text=True
    )


# As a command


def test_a_folder_is_labelled(folder, tmp_path):
    (folder / "broken.wav").write_bytes(b"RIFF, but nothing else")
    output = tmp_path / "out.csv"
    model = small_network("hubert-er")
    done = _run("predict", model, folder, "-o", output)
    assert done.returncode == 1, done.stderr
    assert "4/4" in done.stderr
    assert "1 recordings could not be used" in done.stderr
    assert done.stdout == ""
    rows = {row["file"]: row for row in _rows(output)}
    broken = rows.pop(str(folder / "broken.wav"))
    assert broken["label"] == ""
    assert "can't be" in broken["error"] or "audio" in broken["error"]
    assert list(rows) == _files(folder)
    rows = list(rows.values())
    assert list(rows[0]) == ["file", "label", *PROBABILITIES, "error"]
    classifier = PretrainedEmotionClassifier(model)
    assert [row["label"] for row in rows] == list(classifier.predict(_files(folder)))
    expected = classifier.predict_proba(_files(folder))
    np.testing.assert_allclose(_values(rows, PROBABILITIES), expected, atol=2e-6)
    assert {row["error"] for row in rows} == {""}


def test_help_says_that_files_of_models_can_run_code():
    done = _run("predict", "--help")
    assert done.returncode == 0
    assert "execute any code" in " ".join(done.stdout.split())


# Inputs


def test_segments_of_a_table_are_labelled(folder, tmp_path):
    table = tmp_path / "turns.csv"
    table.write_text(
        "speaker;path;start;end\n"
        "A;speech/a.wav;0.25;0.75\n"
        "B;speech/a.wav;;\n"
        "B;speech/a.wav;0.75;0.5\n"
        "A;speech/missing.wav;0;1\n"
        "A;;0;1\n"
        "A;speech/a.wav;0.25;0.75\n"
    )
    output = tmp_path / "out.csv"
    model = small_network("dense-dim")
    assert main(["predict", model, str(table), "-o", str(output), "--quiet"]) == 1
    rows = _rows(output)
    targets = ["arousal", "dominance", "valence"]
    assert list(rows[0]) == ["file", "start", "end", *targets, "error"]
    assert [(row["file"], row["start"]) for row in rows] == [
        ("speech/a.wav", "0.25"),
        ("speech/a.wav", ""),
        ("speech/a.wav", "0.75"),
        ("speech/missing.wav", "0"),
        ("", "0"),
    ]
    expected = PretrainedEmotionRegressor(model).predict(
        [SegmentOfFile(folder / "a.wav", 0.25, 0.75), folder / "a.wav"]
    )
    np.testing.assert_allclose(_values(rows[:2], targets), expected, rtol=1e-5)
    assert [row["error"] == "" for row in rows] == [True, True, False, False, False]
    assert "no segment" in rows[2]["error"]
    assert "missing.wav" not in rows[3]["error"]
    assert [row["valence"] for row in rows[2:]] == [""] * 3


def test_a_column_of_another_name_is_named(folder, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("clip,source\nspeech/a.wav,x\n")
    command = ["predict", small_network("hubert-er"), str(table), "-o", str(tmp_path / "out.csv")]
    assert main(command) == 2
    assert "--column" in capsys.readouterr().err
    assert main([*command, "--column", "clip"]) == 0
    assert [row["file"] for row in _rows(tmp_path / "out.csv")] == ["speech/a.wav"]


# Resuming


def test_rows_of_the_output_are_not_computed_again(folder, tmp_path, monkeypatch):
    output = tmp_path / "out.csv"
    command = ["predict", small_network("hubert-er"), str(folder), "-o", str(output)]
    command += ["--quiet", "--device", "cpu", "--batch-size", "1"]
    assert main(command) == 0
    whole = output.read_text()
    lines = whole.splitlines(keepends=True)
    seen = []
    original = PretrainedEmotionClassifier.predict_proba

    def predict_proba(self, X):
        assert (self.device, self.batch_size) == ("cpu", 1)
        seen.extend(X)
        return original(self, X)

    monkeypatch.setattr(PretrainedEmotionClassifier, "predict_proba", predict_proba)
    output.write_text("".join(lines[:2]) + lines[2][:-9])  # killed while it wrote
    assert main(command) == 0
    assert output.read_text() == whole
    assert seen[1:] == _files(folder)[1:]  # behind the first, which is noise
    for text in (whole, whole + "\n"):  # a blank line, by hand
        seen.clear()
        output.write_text(text)
        assert main(command) == 0
        assert output.read_text() == text
        assert len(seen) == 1


def test_errors_in_the_output_keep_the_exit_status(folder, tmp_path):
    (folder / "broken.wav").write_bytes(b"")
    command = ["predict", small_network("hubert-er"), str(folder), "-o", str(tmp_path / "o.csv")]
    assert [main(command), main(command)] == [1, 1]


@pytest.mark.parametrize("content", ["file,other\na.wav,1\n", "no table at all"])
def test_another_file_is_left_alone(folder, tmp_path, capsys, content):
    output = tmp_path / "out.csv"
    output.write_text(content)
    assert main(["predict", small_network("hubert-er"), str(folder), "-o", str(output)]) == 2
    assert "Choose another output" in capsys.readouterr().err
    assert output.read_text() == content


# Models


def _pipeline(last, folder, y):
    front_end = LogMelSpectrogram(pooling="mean", n_mels=20, on_error="nan")
    return make_pipeline(front_end, last).fit(_files(folder), y)


def test_a_fitted_pipeline_reads_each_recording_once(folder, tmp_path, monkeypatch):
    (folder / "broken.wav").write_bytes(b"RIFF")
    search = GridSearchCV(
        _pipeline(LogisticRegression(), folder, ["x", "y", "x"]),
        {"logisticregression__C": [1.0]},
        cv=[([0, 1, 2], [0, 1, 2])],
    ).fit(_files(folder), ["x", "y", "x"])
    output = str(tmp_path / "out.csv")
    model = _save(search, tmp_path)
    n_read = []
    original = LogMelSpectrogram.transform

    def transform(self, X):
        rows = original(self, X)
        n_read.append(len(X))
        return rows

    monkeypatch.setattr(LogMelSpectrogram, "transform", transform)
    assert main(["predict", model, str(folder), "-o", output, "--n-jobs", "2"]) == 1
    assert n_read == [1, 3]
    rows = [row for row in _rows(output) if not row["error"]]
    assert [row["label"] for row in rows] == list(search.predict(_files(folder)))
    columns = ["probability_x", "probability_y"]
    expected = search.predict_proba(_files(folder))
    np.testing.assert_allclose(_values(rows, columns), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("last", "y", "columns"),
    [
        (LinearSVC(), ["x", "y", "x"], ["label"]),
        (Ridge(), [0.0, 1.0, 2.0], ["prediction"]),
        (Ridge(), np.eye(3)[:, :2], ["prediction", "prediction_1"]),
    ],
)
def test_outputs_of_other_models(folder, tmp_path, last, y, columns):
    pipeline = _pipeline(last, folder, y)
    output = str(tmp_path / "out.csv")
    assert main(["predict", _save(pipeline, tmp_path), str(folder), "-o", output]) == 0
    rows = _rows(output)
    assert list(rows[0]) == ["file", *columns, "error"]
    if columns == ["label"]:
        assert [row["label"] for row in rows] == list(pipeline.predict(_files(folder)))
    else:
        expected = pipeline.predict(_files(folder)).reshape(3, -1)
        np.testing.assert_allclose(_values(rows, columns), expected, rtol=1e-5)


def test_labels_depend_on_the_threshold_of_the_model(folder, tmp_path):
    network = make_network("hubert-er")
    network.classifier.weight.data = network.classifier.weight.data[:2]
    network.classifier.bias.data = network.classifier.bias.data[:2]
    network.config.id2label = {0: "calm", 1: "upset"}
    save_network(network, tmp_path / "network", True)
    classifier = PretrainedEmotionClassifier(tmp_path / "network")
    model = FixedThresholdClassifier(FrozenEstimator(classifier), threshold=0.0, pos_label="upset")
    model = _save(model.fit(_files(folder), ["calm", "upset", "calm"]), tmp_path)
    output = str(tmp_path / "out.csv")
    assert main(["predict", model, str(folder), "-o", output]) == 0
    assert {row["label"] for row in _rows(output)} == {"upset"}


def test_recordings_that_do_not_fit_into_memory_are_errors(folder, tmp_path, monkeypatch):
    original = PretrainedEmotionClassifier.predict_proba

    def predict_proba(self, X):
        if any("b.flac" in str(x) for x in X if isinstance(x, str)):
            raise MemoryError("A window of 30 s does not fit")
        return original(self, X)

    monkeypatch.setattr(PretrainedEmotionClassifier, "predict_proba", predict_proba)
    output = str(tmp_path / "out.csv")
    assert main(["predict", small_network("hubert-er"), str(folder), "-o", output]) == 1
    assert [row["error"] for row in _rows(output)] == ["", "A window of 30 s does not fit", ""]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("absent.joblib", "no file"),
        ("damaged.joblib", "can't be loaded"),
        ("scaler.joblib", "does not predict"),
        ("wavlm", "use WavLMEmbedder"),
        ("./absent", "no folder"),
    ],
)
def test_unusable_models_are_named_before_anything_is_written(
    folder, tmp_path, capsys, monkeypatch, model, message
):
    monkeypatch.chdir(tmp_path)
    Path("damaged.joblib").write_bytes(b"damaged")
    joblib.dump({"a": 1}, "scaler.joblib")
    model = small_network("wavlm") if model == "wavlm" else model
    assert main(["predict", model, str(folder), "-o", "out.csv"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/none"], "neither a folder nor a CSV file"),
        (["{folder}/day1"], "no audio files"),
        (["{folder}", "--dtype", "float8"], "dtype"),
    ],
)
def test_unusable_arguments_are_named(folder, tmp_path, capsys, arguments, message):
    (folder / "day1").mkdir()
    arguments = [argument.format(folder=folder) for argument in arguments]
    output = str(tmp_path / "out.csv")
    assert main(["predict", small_network("hubert-er"), *arguments, "-o", output]) == 2
    assert message in capsys.readouterr().err


def test_options_without_effect_are_named(folder, tmp_path, capsys):
    model = _save(_pipeline(LogisticRegression(), folder, ["x", "y", "x"]), tmp_path)
    output = str(tmp_path / "out.csv")
    assert main(["predict", model, str(folder), "-o", output, "--device", "cpu"]) == 2
    assert "--device is not a parameter of this Pipeline" in capsys.readouterr().err
    # The memory of a pipeline is not that of an embedder.
    assert main(["predict", model, str(folder), "-o", output, "--memory", "cache"]) == 2
    assert "--memory is not a parameter of this Pipeline" in capsys.readouterr().err
