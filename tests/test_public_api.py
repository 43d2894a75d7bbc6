"""What a user sees: names that load on demand, documented in full."""

import importlib
import inspect
import subprocess
import sys
from functools import cache

import pytest
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

import sklearn_ser

CLASSES = [name for name in sklearn_ser.__all__ if inspect.isclass(getattr(sklearn_ser, name))]
ESTIMATORS = [name for name in CLASSES if issubclass(getattr(sklearn_ser, name), BaseEstimator)]
SUBPACKAGES = [name for name in sklearn_ser.__all__ if inspect.ismodule(getattr(sklearn_ser, name))]
DOCUMENTED = [f"sklearn_ser.{name}" for name in CLASSES] + [
    f"sklearn_ser.{module}.{name}"
    for module in SUBPACKAGES
    for name in getattr(sklearn_ser, module).__all__
]

# numpydoc's codes that contradict scikit-learn's style or repeat ruff.
IGNORED = {
    "GL01",  # summary may begin on the line of the quotes
    "GL08",  # ruff finds what has no docstring; magic methods need none
    "SA04",  # a See Also entry may speak for itself
    "RT02",  # scikit-learn names what is returned
    "ES01",  # not everything needs an extended summary
    "SA01",  # or a See Also
    "EX01",  # methods need no example
    "YD01",
}


WITHOUT_NETWORKS = [
    "LogMelSpectrogram",
    "LayerSelector",
    "CodecEmbedder",
    "HubertEmbedder",
    "TextEmbedder",
    "WavLMEmbedder",
    "WhisperEmbedder",
    "XVectorEmbedder",
    "register_codec",
    "datasets",
    "estimator_checks",
    "inspection",
    "metrics",
]


def _run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@cache
def _brought():
    """Return which modules each name brings that no name before it brought, in one interpreter."""
    code = f"""
import sys
before = set()
def tell(name):
    print(name, *set(sys.modules) - before)
    before.update(sys.modules)
import sklearn.base
tell("sklearn.base")
import sklearn_ser
tell("sklearn_ser")
for name in {[*WITHOUT_NETWORKS, "EmoHRNetClassifier"]}:
    getattr(sklearn_ser, name)
    tell(name)
"""
    lines = [line.split() for line in _run(code).splitlines()]
    return {name: set(modules) for name, *modules in lines}


def test_import_is_light():
    loaded = set(_run("import sys, sklearn_ser; print(*sys.modules)").split())
    heavy = {"numpy", "sklearn", "torch", "transformers", "pandas", "soundfile", "matplotlib"}
    assert not loaded & heavy


def test_import_loads_no_more_than_scikit_learn_would():
    # The whole-process cost is measured by benchmarks/process_cost.py; this counts modules.
    assert _brought()["sklearn_ser"] == {"sklearn_ser"}


def test_names_without_networks_bring_no_torch():
    heavy = {"torch", "transformers", "torchaudio", "matplotlib", "pytest"}
    names = ["sklearn.base", "sklearn_ser", *WITHOUT_NETWORKS]
    assert {name: _brought()[name] & heavy for name in names} == {name: set() for name in names}


def test_what_only_predicts_brings_no_training_loop():
    assert not set().union(*_brought().values()) & {"skorch", "transformers", "geoopt"}


def test_names_load_on_demand():
    assert "sklearn_ser.audio" not in _brought()["sklearn_ser"]
    assert "sklearn_ser.audio" in _brought()["LogMelSpectrogram"]


def test_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(
        AttributeError, match=r"module 'sklearn_ser' has no attribute 'WavelMEmbedder'"
    ):
        sklearn_ser.WavelMEmbedder  # noqa: B018
    assert not hasattr(sklearn_ser, "__wrapped__")


def test_dir_lists_all_public_names():
    assert set(sklearn_ser.__all__) <= set(dir(sklearn_ser))
    assert sklearn_ser.__all__ == sorted(sklearn_ser.__all__)
    for name in sklearn_ser.__all__:
        assert getattr(sklearn_ser, name) is not None


@pytest.mark.parametrize("module", SUBPACKAGES)
def test_subpackages_list_their_names(module):
    module = importlib.import_module(f"sklearn_ser.{module}")
    assert module.__doc__
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        assert callable(getattr(module, name))


def _assert_documented(name):
    errors = [f"{code}: {text}" for code, text in validate(name)["errors"] if code not in IGNORED]
    assert not errors, f"{name}: {errors}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings_are_complete(name):
    _assert_documented(name)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_methods_are_documented(name):
    methods = inspect.getmembers(getattr(sklearn_ser, name), inspect.isfunction)
    own = [
        method
        for method, function in methods
        if not method.startswith("_") and function.__module__.startswith("sklearn_ser")
    ]
    for method in own:
        _assert_documented(f"sklearn_ser.{name}.{method}")


# A scorer is an object of scikit-learn's, whose signature is not ours to describe.
@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTED if "Error" not in name and not name.endswith("_scorer")]
)
def test_defaults_in_the_text_are_those_of_the_signature(name):
    module, _, attribute = name.rpartition(".")
    documented = getattr(importlib.import_module(module), attribute)
    for parameter in inspect.signature(documented).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            default = repr(parameter.default).replace("'", '"')
            line = next(
                line
                for line in documented.__doc__.split("\n")
                if line.strip().startswith(f"{parameter.name} :")
            )
            assert line.endswith(f"default={default}"), f"{name}: {line.strip()!r} for {default}"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_is_constrained(name):
    estimator = getattr(sklearn_ser, name)
    assert set(estimator._parameter_constraints) == set(estimator().get_params())


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert sklearn_ser.__version__ == version("sklearn-ser")
