"""Estimators carry the version of the package in pickles, and link its documentation."""

import copy
import inspect
import pickle
import warnings
from email.message import Message

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

import sklearn_ser
from sklearn_ser import ConcordanceRegressor, LayerSelector, LogMelSpectrogram, _pickles
from sklearn_ser._pickles import FORMAT, Estimator

ESTIMATORS = [
    public
    for public in (getattr(sklearn_ser, name) for name in sklearn_ser.__all__)
    if inspect.isclass(public) and issubclass(public, BaseEstimator)
]


def _make(estimator_class):
    required = {
        name: "model"
        for name, parameter in inspect.signature(estimator_class).parameters.items()
        if parameter.default is parameter.empty
    }
    return estimator_class(**required)


@pytest.fixture(params=ESTIMATORS, ids=lambda estimator_class: estimator_class.__name__)
def estimator(request):
    return _make(request.param)


@pytest.fixture
def version(monkeypatch):
    """Return a function that sets the version of the package."""
    return lambda version: monkeypatch.setattr(sklearn_ser, "__version__", version)


def _unpickle_changed(estimator, change):
    """Unpickle an estimator whose state was changed before."""
    state = estimator.__getstate__()
    change(state)
    again = estimator.__class__.__new__(estimator.__class__)
    again.__setstate__(state)
    return again


def test_all_estimators_are_found():
    assert len(ESTIMATORS) >= 16


def test_the_same_version_opens_without_warning(estimator):
    assert isinstance(estimator, Estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pickle.loads(pickle.dumps(estimator))
        copied = copy.deepcopy(estimator)
    assert vars(again) == vars(copied) == vars(estimator)


def test_another_version_warns(estimator, version):
    version("0.7.1")
    content = pickle.dumps(estimator)
    version("0.9")
    with pytest.warns(InconsistentVersionWarning) as caught:
        again = pickle.loads(content)
    (warning,) = caught
    name = type(estimator).__name__
    assert f"{name} was pickled by sklearn_ser 0.7.1, and this is 0.9" in str(warning.message)
    assert warning.message.original_sklearn_version == "0.7.1"
    assert warning.filename == __file__
    assert again.get_params() == estimator.get_params()


def test_a_missing_parameter_has_its_default(estimator):
    names = [
        name
        for name, parameter in inspect.signature(type(estimator)).parameters.items()
        if parameter.default is not parameter.empty
    ]
    for name in names[:1] + names[-1:]:
        again = _unpickle_changed(estimator, lambda state, name=name: state.pop(name))
        assert again.get_params() == estimator.get_params()


def test_a_parameter_that_is_set_is_kept():
    again = pickle.loads(pickle.dumps(LogMelSpectrogram(n_mels=7)))
    assert again.n_mels == 7


@pytest.mark.parametrize("format_", [FORMAT + 1, "new", None])
def test_a_newer_format_names_both_versions(estimator, version, format_):
    def change(state):
        state |= {"_sklearn_ser_version": "3.0", "_sklearn_ser_format": format_}

    version("0.9")
    says = rf"{type(estimator).__name__} was pickled by sklearn_ser 3\.0 .*sklearn_ser 0\.9 can't"
    with pytest.raises(ValueError, match=says):
        _unpickle_changed(estimator, change)


def test_pickles_without_a_version_warn():
    def change(state):
        del state["_sklearn_ser_version"], state["_sklearn_ser_format"]

    with pytest.warns(InconsistentVersionWarning, match=r"sklearn_ser before 0\.1"):
        _unpickle_changed(LayerSelector(), change)


def _fitted():
    X = np.random.default_rng(0).standard_normal((20, 3))
    return ConcordanceRegressor(max_epochs=1, hidden_size=4, random_state=0).fit(X, X[:, :2]), X


def test_a_network_that_does_not_fit_names_both_versions(version):
    regressor, X = _fitted()
    expected = regressor.predict(X)
    del regressor.state_[next(iter(regressor.state_))]
    version("0.7")
    content = pickle.dumps(regressor)
    version("0.9")
    with pytest.warns(InconsistentVersionWarning):
        regressor = pickle.loads(content)
    with pytest.raises(ValueError, match=r"pickled by sklearn_ser 0\.7, and this is 0\.9"):
        regressor.predict(X)
    # Pickled again, it still is of that version; fitted again, it is not.
    regressor = pickle.loads(pickle.dumps(regressor))
    with pytest.raises(ValueError, match=r"pickled by sklearn_ser 0\.7, and this is 0\.9"):
        regressor.predict(X)
    np.testing.assert_array_equal(regressor.fit(X, X[:, :2]).predict(X), expected)
    assert not regressor._is_of_other_version


def test_a_network_of_this_version_that_does_not_fit_has_torchs_error():
    regressor, X = _fitted()
    del regressor.state_[next(iter(regressor.state_))]
    with pytest.raises(RuntimeError, match="Missing key"):
        regressor.predict(X)


def test_clones_and_skops(version):
    pipeline = make_pipeline(LogMelSpectrogram(n_mels=7), LayerSelector())
    assert repr(clone(pipeline)) == repr(pipeline)
    version("0.7")
    content = skops.io.dumps(pipeline)
    version("0.9")
    with pytest.warns(InconsistentVersionWarning, match=r"0\.7"):
        again = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    assert repr(again) == repr(pipeline)


@pytest.fixture
def site(monkeypatch):
    """Return a function that sets the links in `[project.urls]`."""

    def publish(**links):
        message = Message()
        for label, address in links.items():
            message["Project-URL"] = f"{label}, {address}"
        monkeypatch.setattr(_pickles, "metadata", lambda name: message)
        _pickles._documentation_site.cache_clear()

    yield publish
    monkeypatch.undo()
    _pickles._documentation_site.cache_clear()


def test_notebooks_link_the_documentation_of_a_published_site(estimator, site):
    site(Source="https://code.example", Documentation="https://docs.example/stable/")
    page = f"https://docs.example/stable/generated/sklearn_ser.{type(estimator).__name__}.html"
    html = estimator_html_repr(estimator)
    assert f'href="{page}"' in html
    for name in estimator.get_params(deep=False):
        assert f'href="{page}#:~:text={name}' in html


def test_notebooks_link_nothing_without_a_site(estimator, site):
    site(Source="https://code.example")
    assert "href" not in estimator_html_repr(estimator)
