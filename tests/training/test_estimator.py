"""What every estimator over torch does, on two that are as small as can be."""

import copy
import gc
import io
import pickle
import random
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import RegressorMixin, clone
from sklearn.callback import ScoringMonitor, with_callbacks
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data
from torch import nn

from sklearn_ser.backbones import _loading
from sklearn_ser.training import (
    TorchClassifier,
    TorchEstimator,
    TrainingContext,
    TrainingSet,
    encode_classes,
)
from sklearn_ser.training._classifier import recall
from sklearn_ser.training._loop import learning_rate_factor

DEFAULTS = {
    "max_epochs": 5,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "classes": None,
    "class_weight": None,
    "early_stopping": False,
    "validation_fraction": 0.2,
    "n_iter_no_change": 3,
    "device": "cpu",
    "dtype": "float32",
    "random_state": 0,
    "warm_start": False,
    "verbose": 0,
}


class Small(TorchEstimator):
    """Takes its parameters by name, unlike scikit-learn's, to be short."""

    def __init__(self, **parameters):
        self.__dict__.update(DEFAULTS | parameters)

    @classmethod
    def _get_param_names(cls):
        return sorted(DEFAULTS)


class SmallClassifier(TorchClassifier, Small):
    """A perceptron with one hidden layer."""

    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None):
        self._reset()
        data = {"X": X, "y": y, "metadata": None}
        table = validate_data(self, X, dtype=np.float32, reset=not self._is_warm_start)
        training_set, _ = encode_classes(self, table, y, sample_weight, groups)
        self._set_architecture({"n_inputs": table.shape[1], "n_classes": len(self.classes_)})
        return self._train(table, training_set, data)

    def _logits(self, X):
        return self._outputs(validate_data(self, X, dtype=np.float32, reset=False))

    def _build_module(self):
        sizes = self.architecture_
        return nn.Sequential(
            nn.Linear(sizes["n_inputs"], 8), nn.ReLU(), nn.Linear(8, sizes["n_classes"])
        )


class _Padded:
    """Rows of unequal length as a dict of tensors, padded batch by batch."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, positions):
        rows = [torch.as_tensor(self.rows[position]) for position in positions]
        lengths = torch.tensor([len(row) for row in rows])
        return {"values": nn.utils.rnn.pad_sequence(rows, batch_first=True), "lengths": lengths}


class Marked(nn.Parameter):
    """A kind of parameter of its own, as geoopt's are."""


class _Mean(nn.Module):
    """The mean of what is valid, dropout and a linear layer for two outputs.

    It has what libraries' networks have: a buffer that no state holds, and a parameter of another
    class than torch's.
    """

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.slow = nn.Linear(1, 4)
        self.fast = nn.Linear(4, 2)
        self.shift = Marked(torch.zeros(2))
        self.register_buffer("positions", torch.arange(100), persistent=False)

    def forward(self, values, lengths):
        assert isinstance(self.shift, Marked)
        valid = self.positions[: values.shape[1]] < lengths[:, None]
        means = (values * valid).sum(dim=1) / lengths
        return self.fast(self.drop(self.slow(means[:, None]))) + self.shift


class SmallRegressor(RegressorMixin, Small):
    """Two numbers for each ragged recording: groups of parameters, warm-up, a loss over a batch."""

    _warmup = 0.2

    @with_callbacks
    def fit(self, X, y):
        y = np.asarray(y, dtype=np.float32)
        data = {"X": X, "y": y, "metadata": None}
        training_set = TrainingSet(y, np.arange(len(y)))
        return self._train(_Padded(X), training_set, data)

    def predict(self, X):
        return self._outputs(_Padded(X))

    def _build_module(self):
        return _Mean()

    def _optimizer(self, module):
        fast = [*module.fast.parameters(), module.shift]
        groups = [
            {"params": module.slow.parameters(), "lr": self.learning_rate / 10},
            {"params": fast, "lr": self.learning_rate},
        ]
        return torch.optim.SGD(groups, lr=1.0)

    def _loss(self, outputs, targets):
        return 1 - _concordance(outputs, targets).mean()

    def _score(self, outputs, targets):
        return float(_concordance(outputs, targets).mean())


def _concordance(outputs, targets):
    covariance = ((outputs - outputs.mean(0)) * (targets - targets.mean(0))).mean(0)
    spread = outputs.var(0, correction=0) + targets.var(0, correction=0)
    return 2 * covariance / (spread + (outputs.mean(0) - targets.mean(0)) ** 2)


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(120, n_features=6, centers=3, cluster_std=2.0, random_state=0)
    return StandardScaler().fit_transform(X).astype(np.float32), np.array(["a", "b", "c"])[y]


@pytest.fixture(scope="module")
def ragged():
    return _ragged()


def _ragged():
    rng = np.random.default_rng(0)
    means = rng.normal(size=60)
    rows = [rng.normal(mean, 0.1, rng.integers(3, 9)).astype(np.float32) for mean in means]
    return rows, np.column_stack([means, -means])


def same_bits(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def global_states():
    legacy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return [*legacy["key"], legacy["pos"], *random.getstate()[1], *torch.get_rng_state().tolist()]


# The curve


def test_the_loss_of_the_curve_is_the_mean_over_recordings(blobs):
    X, y = blobs
    fitted = SmallClassifier(learning_rate=1e-12, schedule=None, max_epochs=2).fit(X, y)
    probability = fitted.predict_proba(X)[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    expected = -np.log(probability).mean()
    np.testing.assert_allclose(fitted.history_["train_loss"], [expected] * 2, rtol=1e-5)


def test_cosine_decay_takes_the_learning_rate_to_zero(blobs):
    rates = SmallClassifier(max_epochs=10).fit(*blobs).history_["learning_rate"]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.95e-2
    assert rates[-1] < 0.01e-2
    constant = SmallClassifier(max_epochs=3, schedule=None).fit(*blobs)
    assert constant.history_["learning_rate"] == [1e-2] * 3


def test_the_factor_rises_along_a_line_and_falls_along_a_cosine():
    factors = [learning_rate_factor(s, 100, schedule="cosine", warmup=0.1) for s in range(100)]
    np.testing.assert_allclose(np.diff(factors[:10]), 1 / 11)
    cosine = (1 + np.cos(np.pi * np.arange(90) / 90)) / 2
    np.testing.assert_allclose(factors[10:], cosine)
    assert learning_rate_factor(99, 100, schedule=None, warmup=0.1) == 1


def test_the_curve_makes_a_data_frame(blobs):
    frame = pd.DataFrame(SmallClassifier(early_stopping=True).fit(*blobs).history_)
    columns = ["epoch", "learning_rate", "train_loss", "valid_loss", "valid_score"]
    assert frame.columns.tolist() == columns
    assert frame["epoch"].tolist() == list(range(1, len(frame) + 1))


def test_verbose_prints_a_line_for_each_epoch(blobs, capsys):
    SmallClassifier(max_epochs=2, verbose=1).fit(*blobs)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]


@pytest.mark.parametrize("parameters", [{"max_epochs": 20}, {"max_epochs": 1, "batch_size": 200}])
def test_divergence_is_told(blobs, parameters):
    """Also where it is the last step that diverges, after the last loss."""
    parameters = {"learning_rate": 1e38, "schedule": None} | parameters
    with pytest.raises(ValueError, match=r"diverged\. Lower learning_rate=1e\+38"):
        SmallClassifier(**parameters).fit(*blobs)


def test_a_fit_that_fails_leaves_nothing_to_predict_with(blobs):
    X, y = blobs
    failing = SmallClassifier(learning_rate=1e38, schedule=None)
    fitted = SmallClassifier().fit(X, y)
    for estimator in (failing, fitted.set_params(learning_rate=1e38, schedule=None)):
        with pytest.raises(ValueError, match="diverged"):
            estimator.fit(5 * X, np.char.add(y, "'"))
        with pytest.raises(NotFittedError):
            estimator.predict(X)
    assert fitted.set_params(learning_rate=1e-2, warm_start=True).fit(X, y).n_iter_ == 5
    assert fitted.classes_.tolist() == ["a", "b", "c"]


def test_a_warm_start_that_fails_leaves_the_last_fit(blobs):
    X, y = blobs
    fitted = SmallClassifier(warm_start=True).fit(X, y)
    expected = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="diverged"):
        fitted.set_params(learning_rate=1e38, schedule=None).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    assert fitted.n_iter_ == len(fitted.history_["epoch"]) == 5


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_torchs_modes_and_default_type_make_no_difference(blobs, mode):
    expected = SmallClassifier().fit(*blobs)
    with mode():
        assert same_bits(SmallClassifier().fit(*blobs).state_, expected.state_)
    torch.set_default_dtype(torch.float64)
    try:
        fitted = SmallClassifier().fit(*blobs)
        np.testing.assert_array_equal(fitted.predict(blobs[0]), expected.predict(blobs[0]))
    finally:
        torch.set_default_dtype(torch.float32)
    assert same_bits(fitted.state_, expected.state_)


# Randomness


@pytest.mark.parametrize("kind", [SmallClassifier, SmallRegressor])
def test_the_same_seed_gives_the_same_bits_and_leaves_global_states_alone(kind, blobs, ragged):
    data = blobs if kind is SmallClassifier else ragged
    before = global_states()
    first = kind(random_state=3).fit(*data)
    torch.rand(5)
    torch.set_rng_state(torch.tensor(before[-5056:], dtype=torch.uint8))
    again = kind(random_state=3).fit(*data)
    other = kind(random_state=4).fit(*data)
    assert same_bits(first.state_, again.state_)
    assert first.history_ == again.history_
    assert not same_bits(first.state_, other.state_)
    assert global_states() == before


def test_callbacks_that_draw_make_no_difference(blobs):
    class Draws(Count):
        def on_fit_task_end(self, estimator, context):
            torch.rand(3)

    regular = SmallRegressor().fit(*_ragged())
    assert same_bits(SmallRegressor().set_callbacks(Draws()).fit(*_ragged()).state_, regular.state_)


def test_trainings_in_threads_have_the_bits_of_trainings_alone(blobs):
    data = _ragged()
    alone = [SmallRegressor(random_state=seed).fit(*data).state_ for seed in range(4)]
    before = global_states()
    with ThreadPoolExecutor(4) as pool:
        fitted = pool.map(lambda seed: SmallRegressor(random_state=seed).fit(*data), range(4))
    assert all(same_bits(one.state_, state) for one, state in zip(fitted, alone, strict=True))
    assert global_states() == before


def test_networks_are_not_loaded_while_weights_are_initialized(monkeypatch):
    """Loading replaces torch's initialisation functions, for all threads."""
    monkeypatch.setattr(_loading, "_networks", OrderedDict())
    context = TrainingContext(0, "cpu")

    def load(name):
        return pool.submit(_loading.get_cached, name, lambda: nn.Linear(1, 1))

    with ThreadPoolExecutor(1) as pool:
        with context.initializing():
            loading = load("first")
            with pytest.raises(TimeoutError):
                loading.result(timeout=0.1)
        first = loading.result(timeout=30)
        with context.initializing():  # what is in memory needs not wait
            assert load("first").result(timeout=30) is first
        with context.active():  # a training may wait for threads that load
            assert load("second").result(timeout=30) is not first


# Weights


def test_weights_are_weights_in_the_loss(blobs):
    """The curve and the gradient are those of repeated recordings, up to rounding."""
    X, y = blobs
    weights = np.random.default_rng(0).integers(1, 4, len(y))
    step = {"batch_size": 1000, "max_epochs": 1, "schedule": None}

    class Descent(SmallClassifier):  # whose step is the gradient
        def _optimizer(self, module):
            return torch.optim.SGD(module.parameters(), self.learning_rate)

    weighted = Descent(**step).fit(X, y, sample_weight=weights)
    repeated = Descent(**step).fit(X.repeat(weights, axis=0), y.repeat(weights))
    plain = Descent(**step).fit(X, y)
    for name, values in weighted.state_.items():
        np.testing.assert_allclose(values, repeated.state_[name], rtol=1e-4, atol=1e-7)
        assert not np.allclose(values, plain.state_[name], rtol=1e-4, atol=1e-7)
    assert weighted.history_["train_loss"] == pytest.approx(repeated.history_["train_loss"], 1e-5)


def test_weights_move_the_predictions(blobs):
    X, y = blobs
    heavy = np.where(y == "a", 20.0, 1.0)
    probability = [
        SmallClassifier(max_epochs=20).fit(X, y, sample_weight=weights).predict_proba(X)[:, 0]
        for weights in (None, heavy)
    ]
    assert (probability[1] > probability[0]).mean() > 0.95


def test_no_weight_is_absence_and_no_unit_of_weights_matters(blobs):
    X, y = blobs
    weights = np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    present = weights > 0
    state = SmallClassifier().fit(X, y, sample_weight=weights).state_
    assert same_bits(SmallClassifier().fit(X, y, sample_weight=8 * weights).state_, state)
    junk = np.where(present[:, None], X, 1e30)
    assert same_bits(SmallClassifier().fit(junk, y, sample_weight=weights).state_, state)


def test_class_weights_multiply_sample_weights(blobs):
    X, y = blobs
    by_class = SmallClassifier(class_weight={"a": 3, "b": 1, "c": 0.5}).fit(X, y)
    weights = np.select([y == "a", y == "b"], [3, 1], 0.5)
    by_sample = SmallClassifier().fit(X, y, sample_weight=weights)
    assert same_bits(by_class.state_, by_sample.state_)


def test_balanced_weights_count_weights_not_recordings(blobs):
    X, y = blobs
    weights = np.random.default_rng(0).integers(1, 4, len(y))
    weighted, repeated = (SmallClassifier(class_weight="balanced", warm_start=True) for _ in "12")
    training_set, _ = encode_classes(weighted, X, y, weights, None)
    expected, _ = encode_classes(repeated, X.repeat(weights, axis=0), y.repeat(weights), None, None)
    totals = training_set.targets.sum(axis=0)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)
    np.testing.assert_allclose(totals / totals.sum(), expected.targets.mean(axis=0), rtol=1e-6)


def test_class_weights_that_leave_too_little_are_refused(blobs):
    with pytest.raises(ValueError, match=r"class_weight=.* above zero for at least two"):
        SmallClassifier(class_weight={"a": 0, "b": 0}).fit(*blobs)


def test_weights_near_the_largest_number_are_weights(blobs):
    X, y = blobs
    huge = SmallClassifier().fit(X, y, sample_weight=np.full(len(y), 1e308))
    assert same_bits(huge.state_, SmallClassifier().fit(X, y).state_)


def test_what_has_no_weight_has_no_part_in_the_recall():
    logits = torch.eye(3)[[0, 1, 2, 0]]
    targets = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 0], [0, 3, 0]])
    assert recall(logits, targets) == pytest.approx((1 + 2 / 5) / 2)


@pytest.mark.parametrize("weights", [None, "one class left"])
def test_one_class_is_refused(blobs, weights):
    X, y = blobs
    if weights is None:
        X, y = X[y == "a"], y[y == "a"]
    else:
        weights = (y == "a").astype(float)
    with pytest.raises(ValueError, match="at least two classes, and y has one class, 'a'"):
        SmallClassifier().fit(X, y, sample_weight=weights)


# Early stopping


class _Spy(SmallClassifier):
    """Notes which recordings were held out."""

    def _split(self, training_set, seed):
        training, validation = super()._split(training_set, seed)
        self.training_, self.validation_ = training, validation
        return training, validation


def test_early_stopping_holds_out_whole_speakers(blobs):
    X, y = blobs
    speakers = np.array([f"speaker {number}" for number in np.arange(len(y)) % 7])
    fitted = _Spy(early_stopping=True, validation_fraction=0.3).fit(X, y, groups=speakers)
    held_out = set(speakers[fitted.validation_])
    assert len(held_out) == 3
    assert not held_out & set(speakers[fitted.training_])
    assert len(fitted.validation_) + len(fitted.training_) == len(y)


def test_early_stopping_without_speakers_warns_how_to_pass_them(blobs, recwarn):
    X, y = blobs
    with pytest.warns(UserWarning, match=r"no groups reached SmallClassifier.*routing=True"):
        SmallClassifier(early_stopping=True, max_epochs=1).fit(X, y)
    recwarn.clear()
    stopping = SmallClassifier(early_stopping=True, max_epochs=1, validation_fraction=0.5)
    stopping.fit(X, y, groups=np.arange(len(y)) % 4)
    SmallClassifier(max_epochs=1).fit(X, y)
    assert not recwarn.list


def test_early_stopping_without_speakers_holds_out_a_share_of_each_class(blobs):
    X, y = blobs
    fitted = _Spy(early_stopping=True, validation_fraction=0.2).fit(X, y)
    assert np.unique(y[fitted.validation_], return_counts=True)[1].tolist() == [8, 8, 8]
    assert not set(fitted.validation_) & set(fitted.training_)


def test_each_class_is_left_to_train_on(blobs):
    X, y = blobs
    speakers = np.arange(len(y)) % 7
    speakers[y == "c"] = 7  # one speaker has them all
    for seed in range(20):
        spy = _Spy(early_stopping=True, validation_fraction=0.4, random_state=seed, max_epochs=1)
        assert set(y[spy.fit(X, y, groups=speakers).training_]) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("rows", "speakers", "fraction", "among"),
    [
        (slice(None), lambda y: np.zeros(len(y)), 0.1, "0.1 of 1 speakers"),
        (slice(None), lambda y: y, 0.4, "0.4 of 3 speakers"),
        (slice(6), None, 0.1, "0.1 of 6 recordings"),
        (slice(None), None, 0.995, "0.995 of 120 recordings"),
    ],
    ids=["one speaker", "speakers are classes", "few recordings", "nothing left"],
)
def test_what_can_not_be_held_out_is_told(blobs, rows, speakers, fraction, among):
    X, y = blobs[0][rows], blobs[1][rows]
    stopping = SmallClassifier(early_stopping=True, validation_fraction=fraction)
    with pytest.raises(ValueError, match=rf"early_stopping=True .* validation_fraction={among}"):
        stopping.fit(X, y, groups=speakers and speakers(y))


def test_speakers_of_other_number_and_nameless_ones_are_refused(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match="groups names the speakers of 5 recordings, and X has"):
        SmallClassifier().fit(X, y, groups=np.arange(5))
    for nameless in (None, np.nan):
        speakers = np.array(["one", "two"] * 60, dtype=object)
        speakers[7] = nameless
        with pytest.raises(ValueError, match=r"groups is missing for 1 of 120 .* position 7"):
            SmallClassifier().fit(X, y, groups=speakers)


def test_speakers_make_no_difference_without_early_stopping(blobs):
    X, y = blobs
    plain = SmallClassifier().fit(X, y)
    assert same_bits(plain.state_, SmallClassifier().fit(X, y, groups=np.arange(len(y)) % 5).state_)


def test_early_stopping_stops_and_keeps_the_best_weights(blobs):
    X, y = blobs
    fitted = _Spy(early_stopping=True, n_iter_no_change=4, max_epochs=200).fit(X, y)
    scores = fitted.history_["valid_score"]
    assert fitted.n_iter_ == len(scores) == int(np.argmax(scores)) + 1 + 4 < 200
    assert fitted.best_score_ == max(scores)
    held_out = fitted.validation_
    predicted = fitted.predict(X[held_out])
    recalls = [np.mean(predicted[y[held_out] == name] == name) for name in "abc"]
    assert np.mean(recalls) == pytest.approx(max(scores))


def test_without_early_stopping_nothing_is_held_out(blobs):
    fitted = _Spy().fit(*blobs)
    assert fitted.validation_ is None
    assert fitted.best_score_ is None
    assert fitted.n_iter_ == 5


# Warm start


def test_warm_start_goes_on(blobs):
    X, y = blobs
    whole = SmallClassifier(warm_start=True, max_epochs=3).fit(X, y)
    before = whole.state_
    kept = copy.deepcopy(before)
    curve = list(whole.history_["train_loss"])
    whole.set_params(learning_rate=1e-12).fit(X, y)
    assert whole.n_iter_ == 6
    assert whole.history_["epoch"] == [1, 2, 3, 4, 5, 6]
    assert whole.history_["train_loss"][:3] == curve
    for name in before:
        np.testing.assert_allclose(whole.state_[name], before[name], atol=1e-6)
    whole.set_params(learning_rate=1e-2).fit(X, y)
    assert same_bits(before, kept)  # an earlier state is no working memory of a later fit
    assert not same_bits(whole.state_, kept)


@pytest.mark.parametrize("random_state", [0, None])
def test_a_warm_start_holds_the_same_speakers_out(blobs, random_state):
    X, y = blobs
    speakers = np.arange(len(y)) % 12
    spy = _Spy(early_stopping=True, warm_start=True, random_state=random_state)
    held_out = [spy.fit(X, y, groups=speakers).validation_.tolist() for _ in range(3)]
    assert held_out[0] == held_out[1] == held_out[2]


def test_the_curve_stays_a_table_where_early_stopping_comes_and_goes(blobs):
    X, y = blobs
    fitted = SmallClassifier(max_epochs=1, warm_start=True).fit(X, y)
    fitted.set_params(early_stopping=True).fit(X, y)
    fitted.set_params(early_stopping=False).fit(X, y)
    assert {len(column) for column in fitted.history_.values()} == {3}
    assert np.isnan(fitted.history_["valid_score"]).tolist() == [True, False, True]
    assert fitted.history_["epoch"] == [1, 2, 3]


def test_a_cold_start_forgets(blobs):
    X, y = blobs
    fitted = SmallClassifier(max_epochs=3).fit(X, y)
    first = fitted.state_
    assert same_bits(fitted.fit(X, y).state_, first)
    assert fitted.n_iter_ == 3


def test_warm_start_refuses_new_classes(blobs):
    X, y = blobs
    fitted = SmallClassifier(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"y has the classes \['d'\]"):
        fitted.fit(X, np.where(y == "a", "d", y))
    fitted.fit(X[y != "c"], y[y != "c"])
    assert fitted.classes_.tolist() == ["a", "b", "c"]


# Weights as arrays


def _roundtrip_pickle(fitted):
    return pickle.loads(pickle.dumps(fitted))


def _roundtrip_joblib(fitted):
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    return joblib.load(stream)


@pytest.mark.parametrize("roundtrip", [_roundtrip_pickle, _roundtrip_joblib, copy.deepcopy])
def test_pickles_hold_arrays_alone_and_predict_alike(blobs, roundtrip):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    assert all(type(values) is np.ndarray for values in fitted.state_.values())
    assert b"torch" not in pickle.dumps(vars(fitted))
    np.testing.assert_array_equal(roundtrip(fitted).predict_proba(X), fitted.predict_proba(X))


def test_a_model_mapped_into_memory_predicts_without_a_warning(blobs, tmp_path, recwarn):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    joblib.dump(fitted, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(X), fitted.predict_proba(X))
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_the_state_is_the_one_source_of_truth(blobs):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    fitted.predict(X)
    fitted.state_["2.weight"] = np.zeros_like(fitted.state_["2.weight"])
    fitted.state_["2.bias"] = np.array([0, 100, 0], dtype=np.float32)
    assert set(fitted.predict(X)) == {"b"}
    with pytest.raises(ValueError, match="read-only"):
        fitted.state_["2.bias"] += 1


def test_the_module_is_built_once_and_again_for_another_state(blobs):
    X, y = blobs
    built = []

    class Counted(SmallClassifier):
        def _build_module(self):
            built.append(weakref.ref(module := super()._build_module()))
            return module

    def n_built_by(function, *arguments):
        before = len(built)
        function(*arguments)
        return len(built) - before

    fitted = Counted().fit(X, y)
    assert [n_built_by(fitted.predict, X[:1]) for _ in range(3)] == [1, 0, 0]
    assert n_built_by(fitted.predict_proba, X) == 0
    fitted.state_ = dict(fitted.state_)
    assert n_built_by(fitted.predict, X) == 0  # the same arrays
    fitted.state_ = copy.deepcopy(fitted.state_)
    assert [n_built_by(fitted.predict, X) for _ in range(2)] == [1, 0]
    loaded = copy.deepcopy(fitted)
    assert [n_built_by(loaded.predict, X) for _ in range(2)] == [1, 0]
    with ThreadPoolExecutor(4) as pool:
        assert n_built_by(lambda: list(pool.map(copy.copy(fitted).predict, [X] * 8))) == 1
    fitted.fit(X, y)  # lets go of the module; so do estimators that are no more
    del loaded
    gc.collect()
    assert not any(reference() for reference in built)


def test_threads_predict_alike(blobs):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    parts = np.array_split(X, 30)
    with ThreadPoolExecutor(8) as pool:
        together = np.concatenate(list(pool.map(fitted.predict_proba, parts)))
    np.testing.assert_array_equal(together, np.concatenate([*map(fitted.predict_proba, parts)]))


def test_a_model_of_a_gpu_that_is_not_there_predicts_on_the_cpu(blobs):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    expected = fitted.predict_proba(X)
    fitted.set_params(device="cuda:63")
    with pytest.warns(UserWarning, match="Falling back to the CPU"):
        np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    with pytest.raises(ValueError, match="device='cuda:63' can't be used here"):
        fitted.fit(X, y)


def test_prediction_in_batches_is_prediction_at_once(blobs):
    X, y = blobs
    fitted = SmallClassifier().fit(X, y)
    expected = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.set_params(batch_size=7).predict_proba(X), expected, 1e-6)


# Precision


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_keeps_weights_and_predictions_in_float32(blobs, dtype):
    X, y = blobs
    fitted = SmallClassifier(dtype=dtype, max_epochs=10).fit(X, y)
    assert {values.dtype for values in fitted.state_.values()} == {np.dtype("float32")}
    full = SmallClassifier(max_epochs=10).fit(X, y)
    assert not same_bits(fitted.state_, full.state_)
    assert abs(fitted.score(X, y) - full.score(X, y)) <= 0.1
    in_full = copy.deepcopy(fitted).set_params(dtype="float32")
    np.testing.assert_array_equal(fitted.predict_proba(X), in_full.predict_proba(X))


# The shape that others take over


@pytest.mark.slow
def test_groups_of_parameters_have_rates_of_their_own_that_rise_and_fall(ragged):
    rates = []

    class Noted(torch.optim.SGD):
        def step(self, *arguments, **keywords):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(*arguments, **keywords)

    class Spy(SmallRegressor):
        def _optimizer(self, module):
            return Noted(super()._optimizer(module).param_groups, lr=1.0)

    X, y = ragged
    fitted = Spy(learning_rate=1.0, max_epochs=80, random_state=1, batch_size=8).fit(X, y)
    slow, fast = np.transpose(rates)
    assert len(fast) == 80 * 8
    np.testing.assert_allclose(slow, fast / 10)
    assert int(fast.argmax()) == 128  # a fifth of the steps is warm-up
    assert fast[0] < 0.02
    assert fast[128] == 1
    assert fast[-1] < 0.01
    assert fitted.history_["learning_rate"][-1] == fast[-1]
    assert fitted.predict(X).shape == (60, 2)
    assert fitted.score(X, y) > 0.8


def test_a_regressor_stops_early_by_its_own_score(ragged):
    X, y = ragged
    fitted = SmallRegressor(early_stopping=True, learning_rate=1.0, max_epochs=30).fit(X, y)
    assert fitted.best_score_ == max(fitted.history_["valid_score"])
    assert fitted.best_score_ > 0.5


# Callbacks


class Count:
    """Counts what it is told, wherever it is propagated to."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        return self.stop_after is not None and self.ended.count("epoch") >= self.stop_after


def test_callbacks_are_told_of_each_epoch(blobs):
    counter = Count()
    SmallClassifier(max_epochs=4).set_callbacks(counter).fit(*blobs)
    assert counter.begun == ["fit", *["epoch"] * 4]
    assert counter.ended == [*["epoch"] * 4, "fit"]


def test_a_callback_can_end_the_training(blobs):
    assert SmallClassifier().set_callbacks(Count(stop_after=2)).fit(*blobs).n_iter_ == 2


def test_callbacks_reach_epochs_through_a_search_over_a_pipeline(blobs):
    counter = Count()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SmallClassifier(max_epochs=3)),
        {"smallclassifier__learning_rate": [1e-3, 1e-2]},
        cv=2,
    )
    search.set_callbacks(counter).fit(*blobs)
    assert counter.ended.count("epoch") == 3 * (2 * 2 + 1)


def test_scores_are_monitored_with_the_weights_of_each_epoch(blobs):
    X, y = blobs
    monitor = ScoringMonitor(scoring="accuracy")
    fitted = SmallClassifier(max_epochs=4).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [row["accuracy"] for row in rows]
    expected = [SmallClassifier(max_epochs=4).set_callbacks(Count(n)).fit(X, y) for n in (1, 2)]
    assert scores[:2] == [estimator.score(X, y) for estimator in expected]
    assert scores[-1] == fitted.score(X, y)


def test_clones_and_estimators_without_callbacks_hold_no_context(blobs):
    fitted = SmallClassifier().set_callbacks(Count()).fit(*blobs)
    assert not [name for name in vars(fitted) if "context" in name or name.endswith("_ctx")]
    assert not hasattr(clone(fitted), "state_")
