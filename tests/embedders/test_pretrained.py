"""Shared behaviour of embedders of frozen networks: lookups, layers and names."""

import inspect
import os
import pickle
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import sklearn_ser.embedders
from sklearn_ser import (
    CodecEmbedder,
    HubertEmbedder,
    TextEmbedder,
    WavLMEmbedder,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser._pickles import Estimator
from sklearn_ser.backbones import Backbone, _registry, _search
from sklearn_ser.embedders._pretrained import choose_layers
from small_codecs import small_codec
from small_networks import small_network
from small_text_networks import small_text_network

RECORDINGS = [np.sin(np.arange(8000, dtype=np.float32) * step) for step in (0.1, 0.2)]
# For each family: class, folder of a small network, and inputs.
FAMILIES = {
    "wavlm": (WavLMEmbedder, lambda: small_network("wavlm"), RECORDINGS),
    "hubert": (HubertEmbedder, lambda: small_network("hubert"), RECORDINGS),
    "whisper": (WhisperEmbedder, lambda: small_network("whisper"), RECORDINGS),
    "speaker": (XVectorEmbedder, lambda: small_network("wavlm-sv"), RECORDINGS),
    "codec": (CodecEmbedder, lambda: small_codec("encodec"), RECORDINGS),
    "text": (TextEmbedder, lambda: small_text_network("bert"), ["so happy", "no"]),
}

_opened: list[str] = []
_is_watched = False


def _watch(event, arguments):
    if _is_watched and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        _opened.append(os.path.basename(os.fsdecode(arguments[0])))


@pytest.fixture(scope="module", autouse=True)
def _audit():
    sys.addaudithook(_watch)  # audit hooks cannot be removed


@pytest.fixture
def count(monkeypatch):
    """Return a function that counts the lookups, builds and opened files of a call."""
    calls = []

    def note(module, name, what):
        original = getattr(module, name)

        def noted(*args, **kwargs):
            calls.append(what)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, noted)

    note(_registry, "find_checkpoint", "found")
    note(_search, "find_checkpoint", "found")
    note(Backbone, "__init__", "built")

    def run(call):
        global _is_watched
        calls.clear()
        _opened.clear()
        _is_watched = True
        try:
            call()
        finally:
            _is_watched = False
        return calls.count("found"), calls.count("built"), _opened.count("config.json")

    return run


@pytest.mark.parametrize("family", FAMILIES)
def test_the_network_is_found_once_by_each_method_and_built_once(family, count, tmp_path):
    embedder_class, small, X = FAMILIES[family]
    folder = shutil.copytree(small(), tmp_path / "network")
    time.sleep(0.2)  # very recent files are read again by the store
    embedder = embedder_class(folder, memory=tmp_path / "store")
    found, built, _ = count(lambda: embedder.fit(X))
    assert (found, built) == (1, 1)
    found, built, _ = count(lambda: embedder.transform(X))  # which loads the weights
    assert (found, built) == (1, 0)
    for method in ("fit", "transform"):
        assert count(lambda method=method: getattr(embedder, method)(X)) == (1, 0, 0)
    assert count(embedder.get_feature_names_out) == (1, 0, 0)
    assert count(lambda: embedder.fit_transform(X)) == (1, 0, 0)
    # scikit-learn gets column names after `transform`, and after `fit_transform`.
    embedder.set_output(transform="pandas")
    assert count(lambda: embedder.transform(X)) == (2, 0, 0)
    assert count(lambda: embedder.fit_transform(X)) == (2, 0, 0)


def test_network_is_rebuilt_when_its_files_change(count, tmp_path):
    folder = shutil.copytree(small_network("wavlm"), tmp_path / "network")
    embedder = WavLMEmbedder(folder).fit(RECORDINGS)
    assert embedder.get_feature_names_out()[0] == "wavlm_layer03_dim0000"
    shutil.rmtree(folder)
    shutil.copytree(small_network("hubert"), folder)
    assert count(lambda: embedder.fit(RECORDINGS))[:2] == (1, 1)
    assert embedder.get_feature_names_out()[0] == "hubert_layer03_dim0000"


def test_clones_of_other_settings_have_backbones_of_their_own():
    folder = small_network("whisper")
    short = WhisperEmbedder(folder, context="recording")._load_backbone()
    assert short is WhisperEmbedder(folder, context="recording", layers=0)._load_backbone()
    assert short.n_samples_processed(1600) == 1600
    assert WhisperEmbedder(folder)._load_backbone().n_samples_processed(1600) == 30 * 16000


@pytest.mark.parametrize("family", FAMILIES)
def test_network_is_not_an_attribute_of_the_estimator(family):
    embedder_class, small, X = FAMILIES[family]
    embedder = embedder_class(small()).set_output(transform="pandas")
    before = pickle.dumps(embedder)
    names = set(vars(embedder))
    embedder.fit_transform(X)
    assert set(vars(embedder)) == names
    assert pickle.dumps(embedder) == before


@pytest.mark.parametrize(
    "embedder_class",
    [made for _, made in inspect.getmembers(sklearn_ser.embedders, inspect.isclass)],
)
def test_one_private_base_at_most(embedder_class):
    assert issubclass(embedder_class, Estimator)  # scikit-learn's base, with versions in pickles
    ours = [made for made in embedder_class.__mro__ if made.__module__.startswith("sklearn_ser")]
    assert len(ours) <= 3  # the class itself, its base, and Estimator


@pytest.mark.parametrize(
    ("layers", "flatten", "chosen", "has_layer_axis"),
    [
        ("last", False, [3], False),
        ("all", False, [0, 1, 2, 3], True),
        ("all", True, [0, 1, 2, 3], False),
        (-1, False, [3], False),
        ([-1], False, [3], True),
        ((2, 0), True, [2, 0], False),
    ],
)
def test_layers_and_their_axis(layers, flatten, chosen, has_layer_axis):
    embedder = SimpleNamespace(layers=layers, flatten=flatten)
    found = choose_layers(embedder, SimpleNamespace(name="net", n_layers=4))
    assert found == {
        "layers": chosen,
        "prefixes": [f"net_layer{layer:02d}" for layer in chosen],
        "has_layer_axis": has_layer_axis,
    }


def test_fit_raises_for_layers_out_of_range():
    for embedder in (
        WavLMEmbedder(small_network("wavlm"), layers=4),
        CodecEmbedder(small_codec("encodec"), n_quantizers=99),
    ):
        with pytest.raises(ValueError, match=r"layers=4|n_quantizers=99"):
            embedder.fit(RECORDINGS)
