"""CodecEmbedder."""

import pickle

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ser import CodecEmbedder, EmbeddingStore
from sklearn_ser.backbones import _codec, _search, load_codec, register_codec
from sklearn_ser.datasets import load_emodb
from small_codecs import CODECS, make_codec, small_codec
from small_networks import mostly_slow

RATE = 16000


def _encodec(**parameters):
    return CodecEmbedder(small_codec("encodec"), **parameters)


def _dac(**parameters):
    return CodecEmbedder(small_codec("dac"), **parameters)  # its rate is that of the recordings


def _voices(*durations, seed=0):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(d * RATE))).astype(np.float32) for d in durations]


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which the lengths of each encoded batch are appended."""
    batches = []
    original = _codec.CodecBackbone.encode

    def encode(self, waveforms, last_layer):
        batches.append([len(waveform) for waveform in waveforms])
        return original(self, waveforms, last_layer)

    monkeypatch.setattr(_codec.CodecBackbone, "encode", encode)
    return batches


def _count(passes):
    n_recordings = sum(len(batch) for batch in passes)
    passes.clear()
    return n_recordings


def _by_library(waveform, n_quantizers=None):
    """Return the quantised latents of transformers' DAC for whole frames."""
    samples = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % 320)))[None, None]
    with torch.no_grad():
        return make_codec("dac").encode(samples, n_quantizers).quantized_representation[0].T.numpy()


# Output


@pytest.mark.parametrize("n_quantizers", [None, 1, 3])
def test_rows_are_the_mean_of_the_decoder_input(n_quantizers):
    recordings = _voices(0.5, 1.3, 0.001, 0.5)
    rows = _dac(n_quantizers=n_quantizers).fit_transform(recordings)
    assert rows.dtype == np.float32
    for row, waveform in zip(rows, recordings, strict=True):
        expected = _by_library(waveform, n_quantizers).mean(axis=0)
        assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)


def test_latents_are_those_before_quantisation():
    recordings = _voices(0.5, 1.3)
    rows = _dac(representation="latent", n_quantizers=2).fit_transform(recordings)
    for row, waveform in zip(rows, recordings, strict=True):
        samples = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % 320)))[None, None]
        with torch.no_grad():
            expected = make_codec("dac").encoder(samples)[0].mean(dim=1).numpy()
        assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("pooling", "statistics"),
    [
        ("mean_std", lambda frames: [frames.mean(axis=0), frames.std(axis=0)]),
        ("max", lambda frames: [frames.max(axis=0)]),
        (lambda frames: np.median(frames, axis=0), lambda frames: [np.median(frames, axis=0)]),
    ],
)
def test_pooling(pooling, statistics):
    [recording] = _voices(0.7)
    [row] = _dac(pooling=pooling).fit_transform([recording])
    expected = np.concatenate(statistics(_by_library(recording)))
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_column_names_contain_the_parameters():
    for parameters, prefix in (
        ({}, "encodec24"),
        ({"n_quantizers": 2}, "encodec24_q02"),
        ({"representation": "latent"}, "encodec24_latent"),
    ):
        names = _encodec(**parameters).get_feature_names_out()
        assert list(names[[0, 15]]) == [f"{prefix}_dim0000", f"{prefix}_dim0015"]
    with pytest.raises(ValueError, match="n_quantizers=99"):
        _encodec(n_quantizers=99).get_feature_names_out()
    names = _dac(pooling="mean_std").get_feature_names_out()
    assert list(names[[0, 64]]) == ["dac16_mean_dim0000", "dac16_std_dim0000"]


@pytest.mark.parametrize("name", mostly_slow(CODECS))
def test_recordings_are_resampled_to_the_codecs_rate(name, passes):
    rate = load_codec(small_codec(name), device="cpu").sampling_rate
    CodecEmbedder(small_codec(name), sampling_rate=8000).fit_transform(
        [np.ones(4000), (np.ones(22050), 44100)]
    )
    assert passes == [[rate // 2, rate // 2]]


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_rows_are_the_same_alone_and_in_any_batch(name):
    recordings = _voices(2.3, 0.001, 0.4, 1.1)
    embedder = CodecEmbedder(small_codec(name), pooling="mean_std")
    rows = embedder.fit_transform(recordings)
    for batch_size in (1, 2):
        other = clone(embedder).set_params(batch_size=batch_size).fit_transform(recordings[::-1])
        np.testing.assert_allclose(other[::-1], rows, rtol=1e-5, atol=1e-6)
    for row, recording in zip(rows, recordings, strict=True):
        [alone] = embedder.transform([recording])
        assert np.linalg.norm(alone - row) <= 1e-5 * np.linalg.norm(row)


# Windows


def test_long_recordings_are_split_into_windows_and_each_frame_is_pooled_once(passes):
    recording = _voices(7.3)[0]
    count = _dac(window=2.0, hop=1.5, pooling=lambda frames: np.array([len(frames)]))
    assert count.fit_transform([recording])[0, 0] == -(-len(recording) // 320)
    assert max(max(batch) for batch in passes) <= 2 * RATE


def test_windows_agree_with_the_whole_recording():
    recording = _voices(6.0)[0]
    whole = _dac(window=None).fit_transform([recording])
    windows = _dac(window=4.0).fit_transform([recording])
    other = _dac(window=None).fit_transform(_voices(6.0, seed=1))
    assert np.linalg.norm(windows - whole) < 0.2 * np.linalg.norm(other - whole)


def test_no_windows_for_codecs_that_split_recordings(passes):
    recording = _voices(3.3)[0]
    rows = [
        CodecEmbedder(small_codec("encodec-48khz"), window=window).fit_transform([recording])
        for window in (0.5, None)
    ]
    np.testing.assert_array_equal(*rows)
    assert passes == [[3 * len(recording)]] * 2


# Unusable input


def test_more_quantisers_than_there_are(passes):
    with pytest.raises(ValueError, match=r"n_quantizers=5 is more than the 4"):
        _dac(n_quantizers=5).fit_transform(_voices(0.2))
    assert not passes


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_quantizers": 0},
        {"representation": "codes"},
        {"pooling": "median"},
        {"window": None, "hop": 1.0},
    ],
)
def test_invalid_parameters_raise(parameters):
    with pytest.raises(ValueError, match=next(reversed(parameters))):
        _encodec(**parameters).fit(_voices(0.2))


def test_missing_model_is_named_with_two_remedies(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(_search, "_require_snac", lambda: None)
    for name, hub_id in _search._ON_THE_HUB.items():
        with pytest.raises(OSError, match=rf"hf download {hub_id}.*path/to/folder"):
            CodecEmbedder(name).fit_transform(_voices(0.2))


@pytest.mark.slow
def test_silence_has_a_row():
    for name in CODECS:
        rows = CodecEmbedder(small_codec(name)).fit_transform([np.zeros(8000), np.zeros(1)])
        assert np.isfinite(rows).all()


# scikit-learn


def test_weights_are_loaded_at_the_first_recording(monkeypatch):
    from sklearn_ser.backbones import _encodec as module

    loaded = []
    original = module.load_network
    monkeypatch.setattr(
        module, "load_network", lambda *a, **k: loaded.append(a) or original(*a, **k)
    )
    embedder = clone(_encodec()).fit(_voices(0.2))
    embedder.get_feature_names_out()
    assert not loaded
    embedder.transform(_voices(0.2))
    assert loaded


def test_pickles_carry_no_weights():
    embedder = _encodec()
    before = len(pickle.dumps(embedder))
    recordings = _voices(0.2, 0.4)
    rows = embedder.fit_transform(recordings)
    assert len(pickle.dumps(embedder)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).transform(recordings), rows)


# Cache


@pytest.mark.slow
def test_a_search_over_the_quantiser_makes_one_pass(tmp_path, passes):
    recordings = _voices(*np.linspace(0.1, 0.3, 12))
    pipeline = make_pipeline(_dac(memory=tmp_path), LogisticRegression())
    grid = {
        "codecembedder__n_quantizers": [1, 2, 4, None],
        "codecembedder__representation": ["latent", "quantized"],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(recordings, np.arange(12) % 2)
    assert _count(passes) == 12
    assert len(EmbeddingStore(tmp_path)) == 12
    row = search.best_estimator_[0].set_params(n_quantizers=2, representation="quantized")
    kept = row.transform(recordings)
    np.testing.assert_allclose(
        kept, _dac(n_quantizers=2).fit_transform(recordings), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    "change", [{"pooling": "max"}, {"model": small_codec("encodec", later=True)}]
)
def test_parameters_that_affect_the_output_are_part_of_the_cache_key(change, tmp_path, passes):
    recordings = _voices(0.3)
    _dac(memory=tmp_path).fit_transform(recordings)
    _dac(memory=tmp_path).set_params(**change).fit_transform(recordings)
    assert _count(passes) == 2


# Custom codecs


class Rounding(_codec.Codec):
    sampling_rate, stride, n_dims, n_quantizers = 16000, 4, 4, 2

    def __init__(self, name):
        self.name = name

    def encode(self, waveform):
        return np.pad(waveform, (0, -len(waveform) % 4)).reshape(-1, 4)

    def quantize(self, latents):
        yield latents.round(1)
        yield latents.round(2)


def test_custom_codec_is_cached_under_its_name(tmp_path, monkeypatch, passes):
    monkeypatch.setattr(_search, "_registered", {})
    recording = np.arange(16, dtype=np.float32) / 9
    for name in ("one", "two"):
        register_codec(name, lambda name=name, **settings: Rounding(name))
        embedder = CodecEmbedder(name, memory=tmp_path)
        row = embedder.fit_transform([recording])[0]
        np.testing.assert_allclose(row, recording.round(2).reshape(4, 4).mean(0), rtol=1e-6)
        assert embedder.get_feature_names_out()[3] == f"{name}_dim0003"
    assert _count(passes) == 2


# Real weights on real recordings


def test_lyra_on_emodb_is_the_mean_of_its_frames(corpus_folder, weights_folder):
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert.interpreter import Interpreter

    folder = weights_folder("lyra-soundstream")
    recordings = load_emodb(corpus_folder("emodb")).recordings[:3]
    rows = CodecEmbedder(folder, representation="latent").fit_transform(recordings)
    for row, path in zip(rows, recordings, strict=True):
        waveform, _ = soundfile.read(path, dtype="float32")
        graph = Interpreter(str(folder / "soundstream_encoder.tflite"), num_threads=1)
        run = graph.get_signature_runner()
        frames = np.pad(waveform, (0, -len(waveform) % 320)).reshape(-1, 1, 320)
        latents = [run(input_audio=frame)["output_0"].ravel().copy() for frame in frames]
        expected = np.mean(latents, axis=0)
        assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)
    assert CodecEmbedder(folder).get_feature_names_out()[63] == "lyra_dim0063"
