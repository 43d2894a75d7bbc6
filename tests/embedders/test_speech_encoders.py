"""WavLMEmbedder, HubertEmbedder and WhisperEmbedder."""

import functools
import pickle
import threading

import numpy as np
import pytest
import soundfile
import torch
from joblib import Memory, parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sklearn_ser import (
    EmbeddingStore,
    HubertEmbedder,
    LayerSelector,
    RecordingError,
    WavLMEmbedder,
)
from sklearn_ser import WhisperEmbedder as _WhisperEmbedder
from sklearn_ser.backbones._wav2vec2 import Wav2Vec2Backbone
from sklearn_ser.backbones._whisper import WhisperBackbone
from sklearn_ser.datasets import load_emodb
from sklearn_ser.embedders import _encoding
from sklearn_ser.embedders._stored_layers import _key_of, _pooling_key
from small_networks import make_network, save_network, small_network

RATE = 16000


def _wavlm(**parameters):
    return WavLMEmbedder(small_network("wavlm"), **parameters)


def _whisper(**parameters):
    return _WhisperEmbedder(small_network("whisper"), **({"context": "recording"} | parameters))


def _voices(*durations, seed=0):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(int(d * RATE))).astype(np.float32) for d in durations]


def _write(recordings, folder):
    paths = [str(folder / f"{number}.wav") for number in range(len(recordings))]
    for path, recording in zip(paths, recordings, strict=True):
        soundfile.write(path, recording, RATE, subtype="FLOAT")
    return paths


def _hidden_states(waveform):
    """Return transformers' hidden states of the small WavLM, which does not normalise."""
    with torch.no_grad():
        output = make_network("wavlm")(torch.from_numpy(waveform)[None], output_hidden_states=True)
    return [hidden[0].numpy() for hidden in output.hidden_states]


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which the lengths of each encoded batch are appended."""
    batches = []
    for backbone in (Wav2Vec2Backbone, WhisperBackbone):

        def encode(self, waveforms, last_layer, original=backbone.encode):
            batches.append([len(waveform) for waveform in waveforms])
            return original(self, waveforms, last_layer)

        monkeypatch.setattr(backbone, "encode", encode)
    return batches


def _count(passes):
    n_recordings = sum(len(batch) for batch in passes)
    passes.clear()
    return n_recordings


# Output


def test_rows_are_the_mean_of_transformers_hidden_states(tmp_path):
    recordings = _voices(0.5, 1.3, 0.1, 0.5, 2.0)
    mixed = [*_write(recordings[:2], tmp_path), recordings[2], (recordings[3], RATE), recordings[4]]
    rows = _wavlm(layers="all").fit_transform(mixed)
    assert rows.shape == (5, 4, 32)
    assert rows.dtype == np.float32
    for row, waveform in zip(rows, recordings, strict=True):
        expected = np.stack([hidden.mean(axis=0) for hidden in _hidden_states(waveform)])
        assert np.linalg.norm(row - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        ("last", 3),
        (0, 0),
        (2, 2),
        (-2, 2),
        (np.int64(1), 1),
        ([1], [1]),
        ([3, -4], [3, 0]),
        (np.array([0, 2]), [0, 2]),
    ],
)
def test_layers_are_numbered_as_in_transformers(layers, kept):
    recordings = _voices(0.4, 0.7)
    rows = _wavlm(layers=layers).fit_transform(recordings)
    everything = _wavlm(layers="all").fit_transform(recordings)
    np.testing.assert_allclose(rows, everything[:, kept], rtol=1e-5, atol=1e-6)


def test_flatten_concatenates_layers_in_order():
    recordings = _voices(0.4, 0.7)
    embedder = _wavlm(layers=[0, 2], flatten=True)
    stacked = _wavlm(layers=[0, 2]).fit_transform(recordings)
    np.testing.assert_array_equal(embedder.fit_transform(recordings), stacked.reshape(2, -1))
    names = embedder.get_feature_names_out()
    assert list(names[[0, 31, 32, 63]]) == [
        "wavlm_layer00_dim0000",
        "wavlm_layer00_dim0031",
        "wavlm_layer02_dim0000",
        "wavlm_layer02_dim0031",
    ]


def test_columns_are_named_after_the_network_not_the_class():
    names = HubertEmbedder(small_network("xls-r"), pooling="mean_std").get_feature_names_out()
    assert list(names[[0, 32]]) == [
        "wav2vec2_layer03_mean_dim0000",
        "wav2vec2_layer03_std_dim0000",
    ]
    assert _whisper(layers=0).get_feature_names_out()[0] == "whisper_layer00_dim0000"


@pytest.mark.parametrize("layers", [4, -5, [0, 4], True, [0.5], ["last"]])
def test_layers_out_of_range_raise(layers):
    with pytest.raises(ValueError, match=r"layers=.*0 \(the input of the first block\) to 3"):
        _wavlm(layers=layers).fit_transform(_voices(0.2))


def test_duplicate_layers_raise():
    with pytest.raises(ValueError, match="names a layer twice"):
        _wavlm(layers=[1, -3]).fit_transform(_voices(0.2))


@pytest.mark.parametrize(("make", "shortest"), [(_wavlm, "0.045"), (_whisper, "0.045")])
def test_window_shorter_than_a_frame_raises(make, shortest):
    with pytest.raises(ValueError, match=rf"window=0\.04 s is too short.*at least {shortest} s"):
        make(window=0.04).fit_transform(_voices(0.5))
    assert np.isfinite(make(window=0.045).fit_transform(_voices(0.5))).all()


def test_empty_layers_raise():
    with pytest.raises(ValueError, match="layers is empty"):
        _wavlm(layers=[]).fit(_voices(0.2))


@pytest.mark.parametrize(
    ("pooling", "statistics"),
    [
        ("mean_std", lambda frames: [frames.mean(axis=0), frames.std(axis=0)]),
        ("max", lambda frames: [frames.max(axis=0)]),
        (lambda frames: np.median(frames, axis=0), lambda frames: [np.median(frames, axis=0)]),
    ],
)
def test_pooling(pooling, statistics):
    recordings = _voices(0.5, 1.1)
    rows = _wavlm(layers=1, pooling=pooling).fit_transform(recordings)
    for row, waveform in zip(rows, recordings, strict=True):
        expected = np.concatenate(statistics(_hidden_states(waveform)[1]))
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "says"),
    [
        (lambda frames: frames, r"shape \(50, 32\) for frames of shape \(50, 32\).*1-D array"),
        (lambda frames: frames[60], r"failed on frames of shape \(50, 32\) \(IndexError"),
        (lambda frames: frames[0] * np.nan, "of its frames is not finite"),
        (
            lambda frames: frames[: 1 + len(frames) // 10, 0],
            r"returned 2 values .* and 6 for others",
        ),
    ],
)
def test_invalid_pooling_function_raises(pooling, says):
    with pytest.raises(ValueError, match=f"pooling=.*{says}"):
        _wavlm(pooling=pooling).fit_transform(_voices(0.4))


def test_pooling_that_needs_several_frames_names_the_recording_without():
    voice = _voices(0.4)[0]

    def skewness(frames):
        with np.errstate(invalid="ignore"):
            return ((frames - frames.mean(0)) ** 3).mean(0) / frames.std(0) ** 3

    embedder = _wavlm(pooling=skewness, layers=1, on_error="nan")
    with pytest.warns(UserWarning, match=r"ecording 1.*of its frames is not finite"):
        rows = embedder.fit_transform([voice, voice[:400]])
    assert list(np.isfinite(rows).all(axis=1)) == [True, False]


def test_pooling_function_is_called_for_one_layer_at_a_time():
    """Frames of all layers are only in memory for recordings with several windows."""
    seen = []

    def pooling(frames):
        seen.append(frames.shape)
        return frames.mean(axis=0)

    _wavlm(pooling=pooling, layers=1).fit_transform(_voices(0.4, 0.2))
    assert seen == [(50, 32), (19, 32), (9, 32), (19, 32), (9, 32)]


def test_short_recordings_are_normalised_before_padding():
    short = (3 + _voices(0.01)[0]).astype(np.float32)
    row = HubertEmbedder(small_network("hubert")).fit_transform([short])[0]
    normalised = (short - short.mean()) / np.sqrt(short.var() + 1e-7)
    padded = torch.from_numpy(np.pad(normalised, (0, 400 - len(short))))[None]
    with torch.no_grad():
        expected = make_network("hubert")(padded).last_hidden_state[0].mean(dim=0).numpy()
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_recordings_are_resampled_to_the_rate_of_the_network(passes):
    _wavlm(sampling_rate=8000).fit_transform([np.ones(8000), (np.ones(44100), 44100)])
    assert passes == [[RATE, RATE]]


# Unusable input


@pytest.mark.parametrize(
    ("loudness", "dtype", "says"),
    [(1e30, "float32", r"reach 1e\+30, too large"), (1e6, "float16", r"not finite.*float16")],
)
def test_samples_too_large_name_the_recording(loudness, dtype, says, tmp_path):
    quiet, loud = _voices(0.3, 0.3)
    recordings = [quiet, loud / np.abs(loud).max() * loudness]
    with pytest.raises(RecordingError, match=f"Recording 1: .*{says}"):
        _wavlm(dtype=dtype).fit_transform(recordings)
    store = EmbeddingStore(tmp_path)
    with pytest.warns(UserWarning, match="Recording 1"):
        rows = _wavlm(dtype=dtype, on_error="nan", memory=store).fit_transform(recordings)
    assert np.isfinite(rows[0]).all()
    assert np.isnan(rows[1]).all()
    assert len(store) == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"window": None, "hop": 1.0}, "hop=1.0 s has no effect with window=None"),
        ({"window": 2.0, "hop": 3.0}, "hop=3.0 s is longer than window=2.0"),
        ({"memory": 3}, "memory"),
        ({"memory": ""}, "memory is an empty path"),
        ({"dtype": "float64"}, "dtype"),
        ({"pooling": "median"}, "pooling"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_invalid_parameters_raise(parameters, says):
    with pytest.raises(ValueError, match=says):
        _wavlm(**parameters).fit(_voices(0.2))


def test_window_longer_than_thirty_seconds_raises():
    for window in (31.0, None):
        with pytest.raises(ValueError, match=rf"window={window} is too long.*at most 30 s"):
            _whisper(window=window).fit_transform(_voices(0.2))


def test_three_axes_raise_for_data_frames_before_any_computation(passes):
    embedder = _wavlm(layers="all").set_output(transform="pandas")
    with pytest.raises(ValueError, match="flatten=True"):
        embedder.fit_transform(_voices(0.2))
    with pytest.raises(ValueError, match="flatten=True"):
        embedder.get_feature_names_out()
    assert not passes


# Batches and windows


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_are_bounded_in_number_and_in_seconds(batch_size, passes):
    recordings = _voices(0.3, 5.0, 0.5, 0.4, 2.0, 0.3, 0.2, 1.0)
    rows = _wavlm(batch_size=batch_size).fit_transform(recordings)
    for batch in passes:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or max(batch) * len(batch) <= batch_size * 2 * RATE
    assert _count(passes) == len(recordings)
    np.testing.assert_allclose(rows, _wavlm().fit_transform(recordings), rtol=1e-4, atol=1e-5)


def test_recordings_of_like_length_share_a_batch(passes):
    _wavlm(batch_size=2).fit_transform(_voices(0.3, 1.0, 0.31, 1.01))
    assert passes == [[16160, 16000], [4960, 4800]]


@pytest.mark.slow
def test_decoding_is_lazy(passes):
    """The number of recordings read in advance does not depend on their total number."""
    fetched = []

    class Column:
        def __len__(self):
            return 120

        def __getitem__(self, position):
            if passes and len(fetched) < 120:
                ahead.append(len(fetched))
            fetched.append(position)
            return _voices(1.0, seed=position)[0]

    ahead = []
    _wavlm(batch_size=1).fit_transform(Column())
    assert min(ahead) == 32  # sixteen batches of two seconds
    assert fetched == list(range(120))


@pytest.mark.parametrize("make", [_wavlm, _whisper])
def test_long_recordings_are_split_into_windows_and_each_frame_is_pooled_once(make, passes):
    recording = _voices(7.3)[0]
    embedder = make(window=2.0, hop=1.5, pooling=lambda frames: np.array([len(frames)]))
    n_frames = embedder._load_backbone().n_frames(len(recording))
    assert embedder.fit_transform([recording, recording[:4000]])[0, 0] == n_frames
    assert max(max(batch) for batch in passes) == 2 * RATE
    assert _count(passes) == 6


def test_windows_agree_with_the_whole_recording():
    """Frames with their whole context in the window equal those of the whole recording."""
    recording = _voices(6.0)[0]
    whole = _wavlm(window=None).fit_transform([recording])
    windows = _wavlm(window=4.0).fit_transform([recording])
    other = _wavlm(window=None).fit_transform(_voices(6.0, seed=1))
    distance = np.linalg.norm(windows - whole)
    assert 0 < distance < 0.2 * np.linalg.norm(other - whole)


def test_windows_do_not_depend_on_the_batch():
    recordings = _voices(7.3, 0.4, 3.1)
    together = _wavlm(window=2.0, batch_size=50, pooling="mean_std").fit_transform(recordings)
    for row, recording in zip(together, recordings, strict=True):
        alone = _wavlm(window=2.0, batch_size=1, pooling="mean_std").fit_transform([recording])[0]
        assert np.linalg.norm(row - alone) <= 1e-5 * np.linalg.norm(alone)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory"),
        MemoryError(),
    ],
)
def test_batch_is_halved_if_memory_runs_out(error, monkeypatch):
    recordings = _voices(0.3, 0.4, 0.5, 0.6, 0.7)
    expected = _wavlm().fit_transform(recordings)
    sizes = []
    encode = Wav2Vec2Backbone.encode

    def encode_two_at_most(self, waveforms, last_layer):
        sizes.append(len(waveforms))
        if len(waveforms) > 2:
            raise error
        return encode(self, waveforms, last_layer)

    monkeypatch.setattr(Wav2Vec2Backbone, "encode", encode_two_at_most)
    np.testing.assert_allclose(_wavlm().fit_transform(recordings), expected, rtol=1e-4, atol=1e-5)
    assert sizes == [5, 2, 3, 1, 2]


def test_out_of_memory_for_one_window_names_remedies(monkeypatch):
    def encode(self, waveforms, last_layer):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Wav2Vec2Backbone, "encode", encode)
    with pytest.raises(MemoryError, match=r"0\.3 s does not fit.*shorter window="):
        _wavlm().fit_transform(_voices(0.3, 0.3))


def test_other_errors_of_the_network_pass_through(monkeypatch):
    def encode(self, waveforms, last_layer):
        raise RuntimeError("something else")

    monkeypatch.setattr(Wav2Vec2Backbone, "encode", encode)
    with pytest.raises(RuntimeError, match="something else"):
        _wavlm().fit_transform(_voices(0.3, 0.3))


# scikit-learn


def test_weights_are_loaded_at_the_first_recording(monkeypatch):
    from sklearn_ser.backbones import _wav2vec2

    loaded = []
    monkeypatch.setattr(
        _wav2vec2, "load_network", lambda *a, **k: loaded.append(a) or make_network("wavlm")
    )
    embedder = clone(_wavlm()).fit(_voices(0.2))
    embedder.get_feature_names_out()
    assert not loaded
    embedder.transform(_voices(0.2))
    assert len(loaded) == 1


def test_pickles_carry_no_weights():
    embedder = _wavlm()
    before = len(pickle.dumps(embedder))
    recordings = _voices(0.2, 0.4)
    rows = embedder.fit_transform(recordings)
    assert len(pickle.dumps(embedder)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).transform(recordings), rows)


@pytest.mark.slow
def test_grid_search_in_two_processes(tmp_path):
    recordings = _voices(*np.linspace(0.2, 0.5, 12))
    pipeline = make_pipeline(_wavlm(memory=tmp_path), LogisticRegression())
    search = GridSearchCV(pipeline, {"wavlmembedder__layers": [0, 1, 3]}, cv=2, n_jobs=2)
    # Forks have imported torch; processes that have not are in test_many_machines.py.
    with parallel_config("multiprocessing"):
        search.fit(recordings, np.arange(12) % 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(EmbeddingStore(tmp_path)) == 12


def test_verbose_shows_progress_while_the_network_runs(capfd, tmp_path):
    recordings = _voices(1.0, 2.0, 0.5)
    _wavlm(verbose=1, memory=tmp_path).fit_transform(recordings[:2])
    assert "WavLMEmbedder: 100%" in (shown := capfd.readouterr().err)
    assert "2/2 [" in shown
    _wavlm(verbose=1, memory=tmp_path).fit_transform(recordings)
    assert "3/3 [" in capfd.readouterr().err
    _wavlm(verbose=1, memory=tmp_path).fit_transform(recordings)
    assert capfd.readouterr() == ("", "")
    _wavlm().fit_transform(recordings[:1])
    assert capfd.readouterr() == ("", "")


# Cache


def test_each_recording_is_embedded_once_for_any_layers(tmp_path, passes):
    recordings = _voices(0.3, 0.4, 0.5)
    embedder = _wavlm(memory=tmp_path, layers="all")
    rows = embedder.fit_transform(recordings)
    assert _count(passes) == 3
    np.testing.assert_array_equal(embedder.transform(recordings[::-1]), rows[::-1])
    np.testing.assert_array_equal(clone(embedder).fit_transform(recordings), rows)
    for layer in (0, 1, 3, -2):
        one = embedder.set_params(layers=layer).transform(recordings)
        np.testing.assert_array_equal(one, rows[:, layer])
    assert _count(passes) == 0


@pytest.mark.slow
def test_grid_search_makes_one_pass_and_a_second_search_none(tmp_path, passes):
    recordings = _voices(*np.linspace(0.1, 0.3, 12))
    target = np.arange(12) % 2

    def search(memory):
        pipeline = make_pipeline(
            _wavlm(layers="all", memory=memory),
            LayerSelector(),
            StandardScaler(),
            LogisticRegression(),
        )
        grid = {"layerselector__layer": range(-1, 4), "logisticregression__C": [0.1, 1]}
        return GridSearchCV(pipeline, grid, cv=3).fit(recordings, target)

    kept = search(tmp_path)
    assert _count(passes) == 12
    again = search(tmp_path)
    assert _count(passes) == 0
    stock = search(None)
    assert _count(passes) == 31 * 12
    for other in (again, stock):
        np.testing.assert_allclose(
            other.cv_results_["mean_test_score"], kept.cv_results_["mean_test_score"]
        )


def test_deeper_layer_is_computed_and_cached(tmp_path, passes):
    recordings = _voices(0.3, 0.4)
    _wavlm(memory=tmp_path, layers=1).fit_transform(recordings)
    _wavlm(memory=tmp_path, layers=0).fit_transform(recordings)
    assert _count(passes) == 2
    deep = _wavlm(memory=tmp_path).fit_transform(recordings)
    assert _count(passes) == 2
    np.testing.assert_array_equal(_wavlm(memory=tmp_path).fit_transform(recordings), deep)
    _wavlm(memory=tmp_path, layers=1).fit_transform(recordings)
    assert _count(passes) == 0
    assert len(EmbeddingStore(tmp_path)) == 2


def test_cache_key_does_not_depend_on_the_input_format(tmp_path, passes):
    recording = _voices(0.3)[0]
    [path] = _write([recording], tmp_path)
    forms = [path, recording, (recording, RATE), {"array": recording, "sampling_rate": RATE}]
    rows = _wavlm(memory=tmp_path).fit_transform([*forms, recording.copy()])
    assert _count(passes) == 1
    assert (rows == rows[0]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "max"},
        {"dtype": "bfloat16"},
        {"window": 0.2},
        {"hop": 10.0},
        {"model": small_network("hubert", later=True)},
    ],
)
def test_parameters_that_affect_the_output_are_part_of_the_cache_key(change, tmp_path, passes):
    recordings = _voices(0.3)
    _wavlm(memory=tmp_path).fit_transform(recordings)
    passes.clear()
    _wavlm(memory=tmp_path).set_params(**change).fit_transform(recordings)
    assert _count(passes) >= 1
    assert len(EmbeddingStore(tmp_path)) == 2


@pytest.mark.parametrize(
    "change", [{"batch_size": 1}, {"n_jobs": 2}, {"layers": 0}, {"verbose": 1}]
)
def test_other_parameters_are_not_part_of_the_cache_key(change, tmp_path, passes):
    recordings = _voices(0.3)
    _wavlm(memory=tmp_path).fit_transform(recordings)
    _wavlm(memory=tmp_path).set_params(**change).fit_transform(recordings)
    assert _count(passes) == 1


def test_context_is_part_of_the_cache_key(tmp_path, passes):
    recordings = _voices(0.3)
    for context in ("30s", "recording", "30s"):
        _whisper(memory=tmp_path, context=context).fit_transform(recordings)
    assert _count(passes) == 2


def test_cache_key_is_the_content_of_the_files(tmp_path, passes):
    recordings = _voices(0.3)
    network = make_network("wavlm")
    for name in ("here", "there"):
        save_network(network, tmp_path / name, normalize=False)
        WavLMEmbedder(tmp_path / name, memory=tmp_path / "store").fit_transform(recordings)
    assert _count(passes) == 1
    save_network(network, tmp_path / "there", normalize=True)  # only the preprocessing differs
    WavLMEmbedder(tmp_path / "there", memory=tmp_path / "store").fit_transform(recordings)
    assert _count(passes) == 1


def _half(frames, share=0.5):
    return np.quantile(frames, share, axis=0)


class _Quantile:
    __slots__ = ("share",)

    def __init__(self, share):
        self.share = share

    def __call__(self, frames):
        return np.quantile(frames, self.share, axis=0)

    def pool(self, frames):
        return self(frames)


def _with_keyword(share):
    def pool(frames, *, share=share):
        return np.quantile(frames, share, axis=0)

    return pool


def _wrapped(share):
    function = _with_keyword(share)

    @functools.wraps(function)
    def pool(frames):
        return function(frames)

    return pool


@pytest.mark.parametrize(
    "make",
    [
        _Quantile,
        _with_keyword,
        _wrapped,
        lambda share: _Quantile(share).pool,
        lambda share: functools.partial(_Quantile(share).pool),
        lambda share: functools.partial(np.quantile, q=share, axis=0),
    ],
)
def test_closure_of_a_pooling_function_is_part_of_the_cache_key(make, tmp_path, passes):
    recordings = _voices(0.3)
    for share in (0.1, 0.9, 0.1):
        row = _wavlm(memory=tmp_path, pooling=make(share)).fit_transform(recordings)
        np.testing.assert_array_equal(row, _wavlm(pooling=make(share)).fit_transform(recordings))
    assert _count(passes) == 2 + 3
    assert len(EmbeddingStore(tmp_path)) == 2


def test_pooling_function_that_cannot_be_pickled_disables_caching(tmp_path):
    lock = threading.Lock()

    def pool(frames):
        with lock:
            return frames.mean(axis=0)

    recordings = _voices(0.3)
    with pytest.warns(UserWarning, match="can't be pickled"):
        row = _wavlm(memory=tmp_path, pooling=pool).fit_transform(recordings)
    np.testing.assert_allclose(row, _wavlm().fit_transform(recordings), rtol=1e-5, atol=1e-6)
    assert len(EmbeddingStore(tmp_path)) == 0


def test_code_of_a_pooling_function_is_part_of_the_cache_key(tmp_path, passes):
    recordings = _voices(0.3)

    def above(share):
        return lambda frames: np.quantile(frames, share, axis=0)

    for pooling in (_half, above(0.5), above(0.9), lambda frames: frames.min(axis=0)):
        _wavlm(memory=tmp_path, pooling=pooling).fit_transform(recordings)
    assert _count(passes) == 4
    _wavlm(memory=tmp_path, pooling=above(0.9)).fit_transform(recordings)
    assert _count(passes) == 0


def test_what_a_callable_does_is_part_of_its_key():
    def make(factor, default=1):
        def scale(frames, offset=default):
            return frames.mean(axis=0) + offset

        def double(frames):
            return 2 * frames.mean(axis=0)

        return double if factor == 2 else scale

    def decorate(function):
        return functools.wraps(function)(lambda frames: function(frames))

    class Mean:
        def __call__(self, frames):
            return frames.mean(axis=0)

    class Median:
        def __call__(self, frames):
            return np.median(frames, axis=0)

    for wrap in (lambda function: function, functools.partial, decorate, staticmethod):
        key = _key_of(wrap(make(1)))
        assert key == _key_of(wrap(make(1)))
        assert key != _key_of(wrap(make(2)))
        assert key != _key_of(wrap(make(1, default=3)))
    assert _key_of(Mean()) == _key_of(Mean()) != _key_of(Median())


def test_where_a_pooling_function_is_written_is_not_part_of_its_key():
    """Like in a notebook, or in a script that is edited elsewhere."""
    source = (
        "KINDS = {0, 8}\n"
        "def half(values):\n"
        "    try:\n"
        "        values = values + len(KINDS)\n"
        "        values = values + 1\n"
        "    except ValueError:\n"
        "        values = values + 2\n"
        "    return values / 2 if len(values) in {0, 8} else values\n"
        "def make(factor):\n"
        "    return lambda frames: factor * half(frames.mean(axis=0))\n"
    )

    def key(source, factor=1, file="first"):
        names = {"__name__": "__main__"}
        exec(compile(source, file, "exec"), names)
        return _pooling_key(names["make"](factor))

    assert key(source) == key("\n\n" + source, file="second")
    assert key(source) == key(source.replace("{0, 8}", "{8, 0}"))  # sets of different order
    for kind in ("in {0, 8}", "= {0, 8}"):
        assert key(source) != key(source.replace(kind, kind.replace("8", "7")))
    moved = source.replace(
        "values + 1\n    except ValueError:\n        values = values + 2",
        "values + 2\n    except ValueError:\n        pass\n    else:\n        values = values + 1",
    )
    assert moved != source
    assert key(source) != key(moved)
    assert key(source) != key(source.replace("lambda frames: factor", "lambda *frames: factor"))
    assert key(source) != key(source.replace("mean", "max"))
    assert key(source) != key(source, factor=2)


def test_unchanged_files_are_not_read_again(tmp_path, passes, monkeypatch):
    import time

    paths = _write(_voices(0.3, 0.4), tmp_path)
    time.sleep(0.3)  # very recent files are not yet treated as unchanged
    rows = _wavlm(memory=tmp_path / "store").fit_transform(paths)
    monkeypatch.setattr(soundfile, "SoundFile", None)
    np.testing.assert_array_equal(_wavlm(memory=tmp_path / "store").fit_transform(paths), rows)
    monkeypatch.undo()
    soundfile.write(paths[1], _voices(0.4, seed=7)[0], RATE, subtype="FLOAT")
    changed = _wavlm(memory=tmp_path / "store").fit_transform(paths)
    np.testing.assert_array_equal(changed[0], rows[0])
    assert not np.allclose(changed[1], rows[1])


def test_channel_of_a_file_is_part_of_the_cache_key(tmp_path):
    both = np.stack(_voices(0.3, 0.3), axis=1)
    path = str(tmp_path / "stereo.wav")
    soundfile.write(path, both, RATE, subtype="FLOAT")
    for channel in (0, 1, None, 0):
        row = _wavlm(memory=tmp_path / "store", channel=channel).fit_transform([path])
        expected = _wavlm(channel=channel).fit_transform([path])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_interrupted_run_loses_at_most_one_batch(tmp_path, passes, monkeypatch):
    recordings = _voices(0.3, 0.4, 0.5, 0.6)
    merge = _encoding.WindowPooler._merge
    done = []

    def break_off(self, parts):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(parts)
        return merge(self, parts)

    embedder = _wavlm(memory=tmp_path, batch_size=1)
    with monkeypatch.context() as patch:
        patch.setattr(_encoding.WindowPooler, "_merge", break_off)
        with pytest.raises(KeyboardInterrupt):
            embedder.fit_transform(recordings)
    assert len(EmbeddingStore(tmp_path)) == 3
    passes.clear()
    embedder.fit_transform(recordings)
    assert _count(passes) == 1


def test_joblib_memory_as_cache(tmp_path, passes):
    recordings = _voices(0.3)
    for _ in range(2):
        _wavlm(memory=Memory(tmp_path, verbose=0)).fit_transform(recordings)
    assert _count(passes) == 1
    _wavlm(memory=Memory(None)).fit_transform(recordings)
    assert _count(passes) == 1


# Real weights on real recordings


@pytest.mark.slow
def test_whisper_on_emodb_equals_transformers(corpus_folder, weights_folder):
    folder = weights_folder("whisper-base-encoder")
    recordings = load_emodb(corpus_folder("emodb")).recordings[:1]
    rows = _WhisperEmbedder(str(folder), layers="all").fit_transform(recordings)
    encoder = WhisperEncoder.from_pretrained(folder, dtype=torch.float32)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    for row, path in zip(rows, recordings, strict=True):
        waveform, rate = soundfile.read(path, dtype="float32")
        inputs = extractor(waveform, sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            states = encoder(inputs["input_features"], output_hidden_states=True).hidden_states
        n_frames = -(-(len(waveform) // 160) // 2)
        for layer, hidden in zip(row, states, strict=True):
            expected = hidden[0, :n_frames].mean(dim=0).numpy()
            assert np.linalg.norm(layer - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["30s", "recording"])
def test_bfloat16_stays_within_five_per_cent_on_real_weights(
    context, corpus_folder, weights_folder
):
    folder = str(weights_folder("whisper-base-encoder"))
    recordings = load_emodb(corpus_folder("emodb")).recordings[:2]
    exact = _WhisperEmbedder(folder, layers="all", context=context).fit_transform(recordings)
    rough = _WhisperEmbedder(folder, layers="all", context=context, dtype="bfloat16").fit_transform(
        recordings
    )
    distance = np.linalg.norm(rough - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert 0 < distance.max() <= 0.05
