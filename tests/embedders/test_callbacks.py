"""scikit-learn's callbacks follow the embedders."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelSpectrogram, TextEmbedder, WavLMEmbedder
from sklearn_ser.backbones._wav2vec2 import Wav2Vec2Backbone
from small_networks import small_network
from small_text_networks import small_text_network

RECORDINGS = list(0.1 * np.random.default_rng(0).standard_normal((6, 3200), dtype=np.float32))


def _wavlm(**parameters):
    return WavLMEmbedder(small_network("wavlm"), **parameters)


class Record:
    """Keeps the names of the tasks that begin and end, wherever it is propagated to."""

    max_propagation_depth = None

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {_name(context)}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {_name(context)}")


def _name(context):
    """Return the names of a task and of those that it is part of."""
    name = context.task_name
    if context.source_task_name is not None:
        name = f"{context.source_task_name} = {name}"
    return name if context.parent is None else f"{_name(context.parent)} / {name}"


def _whole(n_parts):
    part = ["begin fit-transform / part", "end fit-transform / part"]
    return ["setup", "begin fit-transform", *part * n_parts, "end fit-transform", "teardown"]


@pytest.fixture
def record(monkeypatch):
    """Return a callback that is also told of each batch of a speech encoder."""
    record = Record()

    def encode(self, waveforms, last_layer, original=Wav2Vec2Backbone.encode):
        record.events.append(f"batch of {len(waveforms)}")
        return original(self, waveforms, last_layer)

    monkeypatch.setattr(Wav2Vec2Backbone, "encode", encode)
    return record


def test_parts_end_with_their_batches(record):
    rows = _wavlm(batch_size=2).set_callbacks(record).fit_transform(RECORDINGS[:4])
    part = "fit-transform / part"
    batch = ["batch of 2", f"end {part}", f"begin {part}", f"end {part}"]
    assert record.events == [
        "setup",
        "begin fit-transform",
        f"begin {part}",
        *batch,
        f"begin {part}",
        *batch,
        "end fit-transform",
        "teardown",
    ]
    np.testing.assert_array_equal(rows, _wavlm(batch_size=2).fit_transform(RECORDINGS[:4]))


@pytest.mark.parametrize("container", ["default", "pandas"])
def test_a_warm_store_completes_the_task_at_once(container, record, tmp_path):
    rows = _wavlm(memory=tmp_path).fit_transform(RECORDINGS)
    record.events.clear()
    embedder = _wavlm(memory=tmp_path).set_output(transform=container).set_callbacks(record)
    again = embedder.fit_transform(RECORDINGS)
    assert record.events == _whole(6)
    np.testing.assert_array_equal(again, rows)


def test_long_inputs_have_a_hundred_parts():
    record = Record()
    embedder = TextEmbedder(small_text_network("bert")).set_callbacks(record)
    embedder.fit_transform(["happy", "no", "so"] * 50)
    assert record.events == _whole(100)


def test_samples_that_cannot_be_used_are_done_as_well():
    record = Record()
    embedder = LogMelSpectrogram(duration=0.2, on_error="nan").set_callbacks(record)
    with pytest.warns(UserWarning, match="NaN or infinity"):
        embedder.fit_transform([RECORDINGS[0], np.full(3200, np.nan), RECORDINGS[1]])
    assert record.events == _whole(3)


def test_fit_is_a_task_without_parts_and_transform_is_none(record):
    embedder = _wavlm().set_callbacks(record).fit(RECORDINGS)
    assert record.events == ["setup", "begin fit", "end fit", "teardown"]
    record.events.clear()
    embedder.transform(RECORDINGS)
    assert record.events == ["batch of 6"]


def test_an_interruption_tears_the_callbacks_down(record, monkeypatch):
    embedder = _wavlm(batch_size=2).set_callbacks(record)
    before = set(vars(embedder))
    with monkeypatch.context() as patch:
        original = Wav2Vec2Backbone.encode

        def break_off(self, waveforms, last_layer):
            if "batch of 2" in record.events:
                raise KeyboardInterrupt
            return original(self, waveforms, last_layer)

        patch.setattr(Wav2Vec2Backbone, "encode", break_off)
        with pytest.raises(KeyboardInterrupt):
            embedder.fit_transform(RECORDINGS)
    assert record.events[-2:] == ["begin fit-transform / part", "teardown"]
    assert record.events.count("end fit-transform / part") == 2
    assert set(vars(embedder)) == before
    record.events.clear()
    clone(embedder).fit_transform(RECORDINGS)
    assert record.events.count("end fit-transform / part") == 6


def test_tasks_are_nested_in_those_of_a_pipeline():
    record = Record()
    pipeline = make_pipeline(LogMelSpectrogram(pooling="mean"), LogMelSpectrogram(duration=0.2))
    # As the last step, which a pipeline only fits.
    pipeline.set_callbacks(record).fit(RECORDINGS)
    assert record.events == [
        "setup",
        "begin fit",
        "begin fit / fit-transform-logmelspectrogram-1 = fit-transform",
        *[
            f"{when} fit / fit-transform-logmelspectrogram-1 = fit-transform / part"
            for _ in range(6)
            for when in ("begin", "end")
        ],
        "end fit / fit-transform-logmelspectrogram-1 = fit-transform",
        "begin fit / fit-final-estimator = fit",
        "end fit / fit-final-estimator = fit",
        "end fit",
        "teardown",
    ]


@pytest.mark.parametrize(
    ("base", "parameters", "X"),
    [
        (LogMelSpectrogram, {"pooling": "mean"}, RECORDINGS),
        (TextEmbedder, {"model": small_text_network("bert", later=True)}, ["happy", "no"]),
    ],
)
def test_methods_of_subclasses_are_called(base, parameters, X):
    fitted = []

    class Own(base):
        def fit(self, X, y=None):
            fitted.append(len(X))
            return super().fit(X, y)

    class Half(base):
        def transform(self, X):
            return super().transform(X) / 2

    Own.__name__ = Half.__name__ = base.__name__
    whole = base(**parameters).fit_transform(X)
    record = Record()
    own = Own(**parameters).set_callbacks(record)
    np.testing.assert_array_equal(own.fit_transform(X), whole)
    assert fitted == [len(X)]
    assert record.events == ["setup", "begin fit", "end fit", "teardown"]
    np.testing.assert_array_equal(Half(**parameters).fit_transform(X), whole / 2)


@pytest.mark.slow
def test_tasks_are_followed_through_a_search_in_two_processes(tmp_path):
    path = tmp_path / "events"

    class Write:  # defined here, so that the processes need not import this module
        max_propagation_depth = None

        def setup(self, estimator, context):
            self.write("setup", estimator)

        def teardown(self, estimator, context):
            self.write("teardown", estimator)

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            self.write(context.task_name, estimator)

        def write(self, event, estimator):
            with path.open("a") as file:
                file.write(f"{type(estimator).__name__} {event}\n")

    pipeline = make_pipeline(LogMelSpectrogram(pooling="mean"), LogisticRegression())
    search = GridSearchCV(pipeline, {"logmelspectrogram__n_mels": [4, 8]}, cv=2, n_jobs=2)
    search.set_callbacks(Write()).fit(RECORDINGS, np.arange(6) % 2)
    events = path.read_text().splitlines()
    assert events.count("LogMelSpectrogram fit-transform") == 2 * 2 + 1
    assert events.count("LogMelSpectrogram part") == 2 * 2 * 3 + 6
    assert [events[0], events[-1]] == ["GridSearchCV setup", "GridSearchCV teardown"]
