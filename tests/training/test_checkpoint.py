"""Checkpoints: an interrupted training continues to the same bits, others are refused."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.callback import with_callbacks
from torch import nn

from sklearn_ser.training import TorchClassifier, encode_classes, hash_arrays
from sklearn_ser.training._loop import Net

FILE = "checkpoint.safetensors"


class Convolutional(TorchClassifier):
    """A small network with all that has a state: batch norm, dropout, augmentation, formats."""

    def __init__(
        self,
        checkpoint=None,
        learning_rate=1e-2,
        max_epochs=4,
        early_stopping=True,
        n_iter_no_change=9,
        random_state=0,
        class_weight=None,
        dtype="float32",
        warm_start=False,
        verbose=0,
    ):
        self.checkpoint = checkpoint
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.class_weight = class_weight
        self.dtype = dtype
        self.warm_start = warm_start
        self.verbose = verbose

    batch_size, weight_decay, schedule, validation_fraction = 8, 0.1, "cosine", 0.25
    device, classes = "cpu", None

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        self._reset()
        training_set, _ = encode_classes(self, X, y, sample_weight, None)
        self._set_architecture({"n_classes": len(self.classes_)})
        return self._train(X, training_set, {"X": X, "y": y, "metadata": None})

    def _build_module(self):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(4, 3, 3),
            nn.Flatten(),
            nn.Linear(48, self.architecture_["n_classes"]),
        )

    def _augment(self, inputs, targets, progress, generator):
        return inputs + torch.randn(inputs.shape, generator=generator), targets


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b"], 16)
    X = rng.normal(size=(32, 2, 8, 8)).astype(np.float32)
    X[y == "b", :, 2:5] += 0.7
    return X, y


def assert_same(one, other):
    assert one.history_ == other.history_
    assert one.best_score_ == other.best_score_
    assert one.n_iter_ == other.n_iter_
    assert one.state_.keys() == other.state_.keys()
    for name, values in one.state_.items():
        np.testing.assert_array_equal(other.state_[name], values)
        assert other.state_[name].dtype == values.dtype


@pytest.fixture
def steps(monkeypatch):
    """Return a list to which each step of a training is added."""
    steps, train_step = [], Net.train_step
    monkeypatch.setattr(Net, "train_step", lambda *a, **k: steps.append(1) or train_step(*a, **k))
    return steps


@pytest.mark.parametrize("n_epochs", [1, 3])
@pytest.mark.parametrize(
    "parameters", [{}, {"early_stopping": False}, {"dtype": "bfloat16", "class_weight": "balanced"}]
)
def test_an_interrupted_training_continues_to_the_same_bits(
    data, tmp_path, interrupt, steps, parameters, n_epochs
):
    whole = Convolutional(**parameters).fit(*data)
    n_steps = len(steps)
    interrupt(Convolutional(tmp_path / "new" / "folder", **parameters), *data, n_epochs)
    del steps[:]
    continued = Convolutional(tmp_path / "new" / "folder", **parameters).fit(*data)
    assert_same(whole, continued)
    assert len(steps) == n_steps * (4 - n_epochs) / 4
    assert os.listdir(tmp_path / "new" / "folder") == [FILE]


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(3)])
def test_a_training_of_any_seed_continues_with_its_own(data, tmp_path, interrupt, random_state):
    interrupted = Convolutional(tmp_path, random_state=random_state)
    interrupt(interrupted, *data, 2)
    continued = Convolutional(tmp_path, random_state=random_state).fit(*data)
    assert continued._seeds == interrupted._seeds
    whole = Convolutional()
    whole._seeds, whole._draw_seed = {}, interrupted._seeds.get
    assert_same(continued, whole.fit(*data))


def test_the_precision_of_auto_is_that_of_the_checkpoint(data, tmp_path, interrupt, monkeypatch):
    interrupt(Convolutional(tmp_path, dtype="auto"), *data, 1)
    monkeypatch.setattr("sklearn_ser.backbones._device.bfloat16_gain", lambda device: 1.0)
    with pytest.raises(ValueError, match="it has dtype='bfloat16', not 'float32'"):
        Convolutional(tmp_path, dtype="auto").fit(*data)
    continued = Convolutional(tmp_path, dtype="bfloat16").fit(*data)
    assert_same(Convolutional(dtype="bfloat16").fit(*data), continued)


@pytest.mark.parametrize("n_iter_no_change", [1, 9])
def test_a_finished_training_is_not_repeated(data, tmp_path, steps, n_iter_no_change):
    settings = {"n_iter_no_change": n_iter_no_change, "max_epochs": 8}
    whole = Convolutional(tmp_path, **settings).fit(*data)
    assert (whole.n_iter_ < 8) == (n_iter_no_change == 1)
    del steps[:]
    repeated = Convolutional(tmp_path, verbose=1, **settings).fit(*data)
    assert_same(whole, repeated)
    assert_same(whole, repeated.fit(*data))
    assert not steps


def test_other_parameters_are_refused_before_anything_is_done(data, tmp_path, interrupt):
    X, y = data
    interrupt(Convolutional(tmp_path), X, y, 1)
    with pytest.raises(ValueError, match=r"it has learning_rate=0\.01, not 0\.02; it has rand.*=0"):
        Convolutional(tmp_path, learning_rate=0.02, random_state=1).fit(None, None)
    other = Convolutional(learning_rate=0.02).fit(X, y)
    with pytest.raises(ValueError, match=r"another folder, or delete '.*checkpoint\.safetensors'"):
        other.set_params(checkpoint=tmp_path).fit(X, y)
    assert other.n_iter_ == 4  # the fit before is kept
    os.remove(tmp_path / FILE)
    assert other.fit(X, y).n_iter_ == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X + 1, y), "other recordings"),
        (lambda X, y: (X, y[::-1]), "other targets or weights"),
        (lambda X, y: (X[1:], y[1:]), "other number of recordings and recordings and targets"),
    ],
)
def test_other_data_is_refused(data, tmp_path, interrupt, change, message):
    interrupt(Convolutional(tmp_path), *data, 1)
    with pytest.raises(ValueError, match=message):
        Convolutional(tmp_path).fit(*change(*data))


def test_a_folder_that_is_a_file_and_a_warm_start_are_refused(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"checkpoint='.*file' is a file"):
        Convolutional(tmp_path / "file").fit(*data)
    with pytest.raises(ValueError, match="can't be used with warm_start=True"):
        Convolutional(tmp_path, warm_start=True).fit(*data)


def test_a_damaged_checkpoint_is_named(data, tmp_path, interrupt):
    interrupt(Convolutional(tmp_path), *data, 1)
    content = (tmp_path / FILE).read_bytes()
    for damaged in (content[:-9], b"", b"\x80\x04pickle" * 9):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint.safetensors' can't be read .* Delete it"):
            Convolutional(tmp_path).fit(*data)
    (tmp_path / FILE).write_bytes(content.replace(b'"format":"1"', b'"format":"0"'))
    with pytest.raises(ValueError, match="no checkpoint of this version"):
        Convolutional(tmp_path).fit(*data)


def test_a_training_that_dies_while_it_saves_keeps_the_checkpoint_before(
    data, tmp_path, interrupt, monkeypatch
):
    whole = Convolutional().fit(*data)
    interrupt(Convolutional(tmp_path), *data, 2)

    def write_half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sklearn_ser.training._checkpoint.save_file", write_half)
        with pytest.raises(KeyboardInterrupt):
            Convolutional(tmp_path).fit(*data)
    assert sorted(os.listdir(tmp_path)) == [FILE, "checkpoint.tmp"]
    assert_same(whole, Convolutional(tmp_path).fit(*data))
    assert os.listdir(tmp_path) == [FILE]


def test_nothing_is_pickled(data, tmp_path, interrupt, monkeypatch):
    interrupt(Convolutional(tmp_path), *data, 2)
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *a, **k: pytest.fail("a pickle is loaded"))
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("a pickle is loaded"))
    Convolutional(tmp_path).fit(*data)
    with safe_open(tmp_path / FILE, "pt") as file:
        assert json.loads(file.metadata()["state"])
        assert "/parts/net/weights/0.weight" in file.keys()  # noqa: SIM118


def test_a_diverging_training_saves_nothing(data, tmp_path):
    with pytest.raises(ValueError, match="diverged"):
        Convolutional(tmp_path, learning_rate=1e30).fit(*data)
    assert not os.listdir(tmp_path)


def test_hashes_depend_on_values_types_shapes_and_names():
    a = np.arange(6)
    values = [a, a + 1, a.astype(float), a.reshape(2, 3), None, {"a": a}, {"b": a}, "a"]
    hashes = [hash_arrays(value) for value in values] + [hash_arrays(a, a), hash_arrays()]
    assert len(set(hashes)) == len(hashes)
    assert hash_arrays(a, {"a": a}) == hash_arrays(a[::-1][::-1], {"a": torch.from_numpy(a)})
