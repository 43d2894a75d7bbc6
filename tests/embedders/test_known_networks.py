"""Warm stores: networks are known from their attributes, and neither opened nor imported."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sklearn_ser import (
    CodecEmbedder,
    EmbeddingStore,
    HubertEmbedder,
    WavLMEmbedder,
    WhisperEmbedder,
    XVectorEmbedder,
)
from sklearn_ser.backbones import load_backbone, load_codec
from sklearn_ser.embedders import _known_networks
from sklearn_ser.store import content_key
from small_codecs import small_codec
from small_networks import small_network
from small_speaker_networks import save_ge2e

RECORDINGS = [np.sin(np.arange(8000, dtype=np.float32) * step) for step in (0.1, 0.2, 0.3, 0.4)]
FAMILIES = {
    "wavlm": (WavLMEmbedder, lambda: small_network("wavlm"), "wav2vec2"),
    "data2vec": (HubertEmbedder, lambda: small_network("data2vec"), "wav2vec2"),
    "whisper": (WhisperEmbedder, lambda: small_network("whisper"), "whisper"),
    "wavlm-sv": (XVectorEmbedder, lambda: small_network("wavlm-sv"), "speaker"),
    "encodec": (CodecEmbedder, lambda: small_codec("encodec"), None),
    "encodec-48khz": (CodecEmbedder, lambda: small_codec("encodec-48khz"), None),
}


@pytest.fixture
def new_process(monkeypatch):
    """Return a function that forgets the known networks, and counts those opened from then on."""
    opened = []
    original = _known_networks._open

    def note(checkpoint, settings):
        opened.append(settings["family"])
        return original(checkpoint, settings)

    monkeypatch.setattr(_known_networks, "_open", note)

    def forget():
        _known_networks._recall.cache_clear()
        opened.clear()
        return opened

    return forget


@pytest.fixture
def network(tmp_path):
    """Return a copy of a small network, old enough to be known to the store."""
    folder = shutil.copytree(small_network("wavlm"), tmp_path / "network")
    time.sleep(0.2)
    return folder


WARM = """
import pickle, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "open" else None)
folder = sys.argv[1]
with open(f"{folder}/embedders", "rb") as file:
    embedders, recordings = pickle.load(file)
rows = {}
for name, embedder in embedders.items():
    rows[name] = embedder.fit(recordings).transform(recordings)
    assert embedder.get_feature_names_out().size == rows[name].shape[1]
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_ser import LayerSelector
def n_imported(estimator, X, y):
    return len({"torch", "transformers"} & set(sys.modules))
pipeline = make_pipeline(
    embedders["wavlm"].set_params(layers="all", flatten=False),
    LayerSelector(), StandardScaler(), LogisticRegression(),
)
grid = {"layerselector__layer": [0, 1, 2, 3]}
settings = {"scoring": n_imported, "cv": 2, "error_score": "raise"}
y = [0, 1, 0, 1]
here = GridSearchCV(pipeline, grid, **settings).fit(recordings, y)
there = GridSearchCV(pipeline, grid, n_jobs=2, **settings).fit(recordings, y)
scores = [*here.cv_results_["mean_test_score"], *there.cv_results_["mean_test_score"]]
read = {str(arguments[0]) for arguments in opened}
modules = {"torch", "transformers"} & set(sys.modules)
with open(f"{folder}/result", "wb") as file:
    pickle.dump((rows, scores, read, modules), file)
"""


def test_warm_process_reads_no_network_and_imports_no_torch(tmp_path):
    """It unpickles, fits, transforms and searches, in two more processes too."""
    embedders = {
        name: embedder_class(small(), memory=tmp_path / "store")
        for name, (embedder_class, small, _) in FAMILIES.items()
    }
    save_ge2e(tmp_path / "pretrained.pt")
    embedders["ge2e"] = XVectorEmbedder(tmp_path / "pretrained.pt", memory=tmp_path / "store")
    embedders["wavlm"].set_params(layers="all", flatten=True)
    time.sleep(0.2)
    expected = {name: each.fit_transform(RECORDINGS) for name, each in embedders.items()}
    (tmp_path / "embedders").write_bytes(pickle.dumps((embedders, RECORDINGS)))
    subprocess.run([sys.executable, "-c", WARM, str(tmp_path)], check=True)
    rows, scores, read, modules = pickle.loads((tmp_path / "result").read_bytes())
    for name in embedders:
        np.testing.assert_array_equal(rows[name], expected[name])
    of_networks = [file for each in embedders.values() for file in _files(each.model)]
    assert (read & set(of_networks), modules) == (set(), set())
    assert of_networks
    assert scores == [0] * 8


def _files(model):
    path = Path(model).resolve()
    return map(str, path.iterdir() if path.is_dir() else [path])


@pytest.mark.parametrize("family", FAMILIES)
def test_known_attributes_are_those_of_the_network(family, tmp_path, new_process):
    embedder_class, small, name = FAMILIES[family]
    embedder = embedder_class(small(), memory=tmp_path, device="cpu")
    embedder.transform(RECORDINGS)
    opened = new_process()
    known = embedder._load_backbone()
    if name is None:
        network = load_codec(small(), device="cpu")
    else:
        settings = {"context": "30s"} if family == "whisper" else {}
        network = load_backbone(small(), family=name, device="cpu", dtype="float32", **settings)
    for attribute in _known_networks._ATTRIBUTES:
        value = getattr(network, attribute)
        value = str(value) if attribute == "dtype" else value
        assert (attribute, getattr(known, attribute)) == (attribute, value)
    assert not opened
    assert known.n_frames(16000) == network.n_frames(16000)
    assert len(opened) == 1


def test_new_recordings_are_embedded_by_a_known_network(network, tmp_path, new_process):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    embedder.transform(RECORDINGS[:2])
    opened = new_process()
    rows = embedder.transform(RECORDINGS)
    assert opened == ["wav2vec2"]
    np.testing.assert_allclose(rows, WavLMEmbedder(network).transform(RECORDINGS), rtol=1e-5)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_changed_file_is_opened_again(name, network, tmp_path, new_process):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store").fit(RECORDINGS)
    embedder.transform(RECORDINGS)
    other = "hubert" if name == "config.json" else "wavlm-large"
    shutil.copy(f"{small_network(other)}/{name}", network)
    opened = new_process()
    if name == "config.json":
        assert embedder.get_feature_names_out()[0] == "hubert_layer03_dim0000"
    else:
        embedder.fit(RECORDINGS)
    assert opened == ["wav2vec2"]


def test_attributes_of_a_file_that_changed_meanwhile_are_not_kept(network, tmp_path, new_process):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    resolved = embedder._resolve()
    shutil.copy(f"{small_network('hubert')}/config.json", network)
    shutil.copy(f"{small_network('hubert')}/model.safetensors", network)
    time.sleep(0.2)
    with pytest.raises(ValueError, match="do not match WavLMModel"):
        resolved.compute(RECORDINGS)
    opened = new_process()
    assert embedder.get_feature_names_out()[0] == "hubert_layer03_dim0000"
    assert opened == ["wav2vec2"]


def test_an_edit_in_place_is_detected(network, tmp_path):
    embedder = WavLMEmbedder(network, layers="all", memory=tmp_path / "store").fit(RECORDINGS)
    config = network / "config.json"
    before = config.stat()
    edited = config.read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 2')
    config.write_text(edited)
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert config.stat().st_size == before.st_size
    with pytest.raises(ValueError, match=r"do not match WavLMModel: 19 unexpected"):
        embedder.transform(RECORDINGS)


def test_attributes_are_kept_once_the_files_are_old_enough(network, tmp_path, new_process):
    os.utime(network / "config.json")
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    embedder.transform(RECORDINGS)
    time.sleep(0.2)
    embedder.transform(RECORDINGS)
    opened = new_process()
    embedder.transform(RECORDINGS)
    assert not opened


@pytest.mark.parametrize("library", ["transformers", "sklearn_ser"])
def test_other_versions_open_the_network_again(
    library, network, tmp_path, new_process, monkeypatch
):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    embedder.transform(RECORDINGS)
    name = "version" if library == "transformers" else "own_version"
    monkeypatch.setattr(_known_networks, name, lambda *library: "99.0")
    opened = new_process()
    embedder.transform(RECORDINGS)
    assert opened == ["wav2vec2"]
    opened = new_process()
    embedder.transform(RECORDINGS)
    assert not opened


FORGED = ["[1]", "{", '{"n_layers": 3}']


@pytest.mark.parametrize(
    "text",
    ["", "no checksum", "0123 {}", *(f"{content_key(forged)} {forged}" for forged in FORGED)],
)
def test_damaged_attributes_are_not_used(text, network, tmp_path, new_process, monkeypatch):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    original = EmbeddingStore.remember_contents

    def damage(self, keys, **settings):
        is_text = {file: content.endswith("}") for file, content in keys.items()}
        keys = {file: text if is_text[file] else content for file, content in keys.items()}
        original(self, keys, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingStore, "remember_contents", damage)
        rows = embedder.transform(RECORDINGS)
    opened = new_process()
    np.testing.assert_array_equal(embedder.transform(RECORDINGS), rows)
    assert opened == ["wav2vec2"]


def test_known_network_of_another_family_is_refused(network, tmp_path):
    WavLMEmbedder(network, memory=tmp_path / "store").transform(RECORDINGS)
    with pytest.raises(ValueError, match=r"is of type 'wavlm'.*use HubertEmbedder for it"):
        WhisperEmbedder(network, memory=tmp_path / "store").fit(RECORDINGS)


def test_parameters_are_checked_with_known_attributes(network, tmp_path, new_process):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store")
    embedder.transform(RECORDINGS)
    opened = new_process()
    with pytest.raises(ValueError, match=r"layers=4 contains 4, and the network has layers 0"):
        embedder.set_params(layers=4).fit(RECORDINGS)
    with pytest.raises(ValueError, match=r"window=0\.01 is too short|window=0\.01 s is too short"):
        embedder.set_params(layers=1, window=0.01).fit(RECORDINGS)
    assert not opened
    with pytest.raises(ValueError, match="device='cuda:99' can't be used here"):
        embedder.set_params(window=None, device="cuda:99").fit(RECORDINGS)


def test_measured_precision_opens_the_network(network, tmp_path, new_process):
    embedder = WavLMEmbedder(network, memory=tmp_path / "store", dtype="auto")
    embedder.transform(RECORDINGS)
    opened = new_process()
    embedder.fit(RECORDINGS)
    assert opened == ["wav2vec2"]
