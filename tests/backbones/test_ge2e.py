"""GE2E equals the published procedure, also in batches."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plain_librosa import librosa
from sklearn_ser.backbones import _ge2e, load_backbone
from small_speaker_networks import save_ge2e


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_ge2e(tmp_path_factory.mktemp("ge2e") / "pretrained.pt")


def _load(path, dtype="float32"):
    return load_backbone(path, family="speaker", device="cpu", dtype=dtype)


def _embed(backbone, waveforms):
    (embeddings,) = backbone.encode([backbone.prepare(waveform) for waveform in waveforms], 0)
    assert embeddings.shape == (len(waveforms), 1, 256)
    return embeddings[:, 0].numpy()


def _noise(*lengths, loudness=0.1):
    rng = np.random.default_rng(0)
    return [rng.normal(0, loudness, length).astype(np.float32) for length in lengths]


def _by_hand(path, waveform):
    """Compute the procedure of the paper and Resemblyzer's documentation in double precision."""
    weights = torch.load(path, weights_only=True)["model_state"]
    lstm = torch.nn.LSTM(40, 256, num_layers=3, batch_first=True)
    lstm.load_state_dict({k[5:]: v for k, v in weights.items() if k.startswith("lstm.")})
    lstm = lstm.double()
    decibel = 20 * np.log10(np.sqrt(np.mean(waveform.astype(float) ** 2)))
    waveform = waveform * 10 ** (max(-30 - decibel, 0) / 20)
    # Parts of 1.6 s start every 0.77 s, while the recording reaches the end of the previous part
    # and covers three quarters of the new one.
    parts = [0]
    while (parts[-1] + 77 + 120) * 160 <= len(waveform):
        parts.append(parts[-1] + 77)
    total = 0
    padded = np.pad(waveform, (0, max(0, (parts[-1] + 160) * 160 - len(waveform))))
    mels = librosa.feature.melspectrogram(y=padded, sr=16000, n_fft=400, hop_length=160, n_mels=40)
    for start in parts:
        frames = torch.from_numpy(mels[:, start : start + 160].T.astype(np.float64))
        with torch.no_grad():
            last = lstm(frames[None])[0][0, -1]
            raw = weights["linear.weight"].double() @ last + weights["linear.bias"]
        raw = np.maximum(raw.numpy(), 0)
        total = total + raw / np.linalg.norm(raw)
    return total / np.linalg.norm(total)


@pytest.mark.slow
@settings(max_examples=6, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 70000), min_size=1, max_size=5), loud=st.booleans())
def test_ragged_batch_equals_the_procedure_alone(checkpoint, lengths, loud):
    waveforms = _noise(*lengths, loudness=0.3 if loud else 0.001)
    for own, waveform in zip(_embed(_load(checkpoint), waveforms), waveforms, strict=True):
        assert np.linalg.norm(own - _by_hand(checkpoint, waveform)) <= 1e-5


@pytest.mark.parametrize(
    ("n_samples", "n_parts"),
    [
        (1, 1),
        (25600, 1),
        (77 * 160 + 120 * 160 - 1, 1),
        (77 * 160 + 120 * 160, 2),
        (2 * 77 * 160 + 120 * 160, 3),
        (160000, 12),
    ],
)
def test_last_part_with_less_than_three_quarters_coverage_is_dropped(n_samples, n_parts):
    assert len(_ge2e._part_starts(n_samples)) == n_parts


def test_batches_of_long_recordings_are_bounded(checkpoint, monkeypatch):
    waveforms = _noise(200_000, 1000)
    backbone = _load(checkpoint)
    expected = _embed(backbone, waveforms)
    sizes = []
    forward = _ge2e._Network.forward
    monkeypatch.setattr(_ge2e, "_PARTS_PER_BATCH", 4)
    monkeypatch.setattr(
        _ge2e._Network,
        "forward",
        lambda self, parts: sizes.append(len(parts)) or forward(self, parts),
    )
    np.testing.assert_allclose(_embed(backbone, waveforms), expected, atol=2e-6)
    assert sum(sizes) == backbone.n_samples_processed(200_000) // 25600 + 1
    assert max(sizes) == 4


def test_loud_recordings_stay_as_they_are_and_silence_is_finite(checkpoint):
    backbone = _load(checkpoint)
    (loud,) = _noise(5000, loudness=0.2)
    assert backbone.prepare(loud) is loud
    quiet = backbone.prepare(loud / 1000)
    assert np.sqrt(np.mean(quiet**2)) == pytest.approx(10**-1.5)
    silence = np.zeros(5000, dtype=np.float32)
    assert np.isfinite(_embed(backbone, [silence])).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_stays_near(checkpoint, dtype):
    waveforms = _noise(8000, 50000)
    exact, rough = (_embed(_load(checkpoint, d), waveforms) for d in ("float32", dtype))
    assert 0 < np.linalg.norm(rough - exact, axis=1).max() <= 0.1


# The checkpoint


def test_file_of_any_name_and_folder_are_equivalent(checkpoint, tmp_path):
    other = save_ge2e(tmp_path / "encoder.pt")
    waveforms = _noise(8000)
    expected = _embed(_load(checkpoint), waveforms)
    np.testing.assert_array_equal(_embed(_load(checkpoint.parent), waveforms), expected)
    np.testing.assert_array_equal(_embed(_load(str(other)), waveforms), expected)


def _edit(path, edit):
    saved = torch.load(path, weights_only=True)
    torch.save(edit(saved), path)
    return path


def test_missing_and_mismatched_weights_raise(tmp_path):
    def edit(saved):
        del saved["model_state"]["lstm.bias_hh_l2"]
        saved["model_state"]["linear.bias"] = torch.zeros(7)
        saved["model_state"]["more"] = torch.zeros(1)
        return saved

    path = _edit(save_ge2e(tmp_path / "pretrained.pt"), edit)
    says = (
        r"1 missing \(lstm\.bias_hh_l2\); 1 unexpected \(more\); "
        r"1 of another shape \(linear\.bias\)"
    )
    with pytest.raises(ValueError, match=says):
        _embed(_load(path), _noise(100))


def test_other_tensors_than_ge2e_raise(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt.*is not a GE2E checkpoint"):
        _embed(_load(tmp_path / "other.pt"), _noise(100))


def test_revision_of_a_file_raises(checkpoint):
    with pytest.raises(ValueError, match=r"revision='v1' is for models on the hub.*is a file"):
        load_backbone(checkpoint, family="speaker", device="cpu", dtype="float32", revision="v1")


def test_name_ge2e_finds_the_installed_file(checkpoint, tmp_path, monkeypatch):
    spec = ModuleSpec("resemblyzer", None, is_package=True)
    spec.submodule_search_locations = [str(checkpoint.parent)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.chdir(tmp_path)
    backbone = _load("ge2e")
    assert backbone.checkpoint.files == (checkpoint.resolve(),)
    assert "resemblyzer" not in sys.modules


def test_name_ge2e_without_the_file_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"pip install --no-deps Resemblyzer.*path/to/pretrained\.pt"):
        _load("ge2e")


def test_unsupported_folder_lists_missing_files_of_each_layout(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"no hyperparams\.yaml.*SpeechBrain.*no config\.json.*no pretrained\.pt",
    ):
        _load(tmp_path)
