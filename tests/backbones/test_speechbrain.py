"""SpeechBrain's speaker encoders equal its inference, without evaluation of YAML files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sklearn_ser.backbones import load_backbone
from sklearn_ser.backbones._checkpoint import Checkpoint
from sklearn_ser.backbones._speechbrain import Settings
from small_speaker_networks import need_speechbrain, save_speechbrain

NAMES = ["xvector", "ecapa"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of the small networks, by name; skips where SpeechBrain is not installed."""
    need_speechbrain()
    home = tmp_path_factory.mktemp("speechbrain")
    return {name: save_speechbrain(name, home / name) for name in NAMES}


@pytest.fixture(scope="module")
def classifiers(folders):
    """SpeechBrain's inference on the same folders, without its added noise."""
    from speechbrain.inference.classifiers import EncoderClassifier
    from speechbrain.nnet.pooling import StatisticsPooling

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StatisticsPooling, "_get_gauss_noise", lambda self, size, device: torch.zeros(size)
        )
        yield {
            name: EncoderClassifier.from_hparams(source=str(folder), savedir=str(folder))
            for name, folder in folders.items()
        }


def _load(folder, dtype="float32"):
    return load_backbone(folder, family="speaker", device="cpu", dtype=dtype)


def _embed(backbone, waveforms):
    (embeddings,) = backbone.encode([backbone.prepare(waveform) for waveform in waveforms], 0)
    assert embeddings.shape == (len(waveforms), 1, backbone.n_dims)
    return embeddings[:, 0].float()


def _noise(*lengths):
    rng = np.random.default_rng(0)
    return [
        (rng.uniform(0.01, 0.3) * rng.standard_normal(length)).astype(np.float32)
        for length in lengths
    ]


def _distance(own, expected):
    return float(torch.linalg.norm(own - expected) / torch.linalg.norm(expected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_ragged_batch_equals_speechbrain_alone(folders, classifiers, name, seed):
    waveforms = _noise(*np.random.default_rng(seed).integers(640, 60000, 4), 640, 641)
    for own, waveform in zip(_embed(_load(folders[name]), waveforms), waveforms, strict=True):
        expected = classifiers[name].encode_batch(torch.from_numpy(waveform)[None])[0, 0]
        assert _distance(own, expected) <= 1e-5


def test_speechbrain_is_not_exact_in_a_padded_batch(classifiers):
    """The difference must be large to justify the code that avoids it."""
    short, long = (torch.from_numpy(waveform) for waveform in _noise(16000, 48000))
    padded = torch.stack([torch.nn.functional.pad(short, (0, 32000)), long])
    for classifier in classifiers.values():
        batched = classifier.encode_batch(padded, torch.tensor([1 / 3, 1.0]))[0, 0]
        assert _distance(batched, classifier.encode_batch(short[None])[0, 0]) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_no_noise_and_the_random_state_is_left_alone(folders, name):
    waveforms = _noise(8000)
    state = torch.get_rng_state()
    first = _embed(_load(folders[name]), waveforms)
    assert torch.equal(_embed(_load(folders[name]), waveforms), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "n_samples"), [("xvector", 480), ("ecapa", 640)])
def test_the_shortest_waveform_can_be_reflected(folders, classifiers, name, n_samples):
    backbone = _load(folders[name])
    assert backbone.min_samples == n_samples
    (shortest,) = _noise(n_samples)
    expected = classifiers[name].encode_batch(torch.from_numpy(shortest)[None])[0, 0]
    assert _distance(_embed(backbone, [shortest])[0], expected) <= 1e-5
    with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
        _embed(backbone, [shortest[:-1]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_stays_near(folders, name, dtype):
    waveforms = _noise(8000, 20000)
    exact, rough = (_embed(_load(folders[name], d), waveforms) for d in ("float32", dtype))
    assert 0 < _distance(rough, exact) <= 0.02


def test_networks_are_shared_and_frozen(folders):
    first, second = (_load(folders["ecapa"])._network() for _ in range(2))
    assert first is second
    assert not first.training
    assert not any(weight.requires_grad for weight in first.parameters())


# The checkpoint


def _copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def _edit(folder, *replacements):
    text = (folder / "hyperparams.yaml").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "hyperparams.yaml").write_text(text)


def _edit_weights(folder, edit):
    weights = torch.load(folder / "embedding_model.ckpt", weights_only=True)
    edit(weights)
    torch.save(weights, folder / "embedding_model.ckpt")


def test_two_files_are_sufficient(folders, tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    for name in ("hyperparams.yaml", "embedding_model.ckpt"):
        shutil.copy(folders["ecapa"] / name, folder)
    waveforms = _noise(8000)
    expected = _embed(_load(folders["ecapa"]), waveforms)
    np.testing.assert_array_equal(_embed(_load(folder), waveforms), expected)


def test_objects_named_in_hyperparams_are_not_built(folders, tmp_path):
    folder = _copy(folders["xvector"], tmp_path)
    ran = tmp_path / "ran"
    _edit(
        folder,
        ("n_mels: 24\n", f"n_mels: 24\nevil: !apply:os.system ['touch {ran}']\n"),
        ("out_n_neurons: 3", "more: !!python/object/apply:os.system ['exit 1']"),
        ("    norm_type: sentence", "    device: !apply:os.abort []\n    norm_type: sentence"),
    )
    assert _embed(_load(folder), _noise(8000)).isfinite().all()
    assert not ran.exists()


@pytest.mark.parametrize(
    ("replacement", "says"),
    [
        (
            ("lobes.models.Xvector.Xvector", "lobes.models.ResNet_TDNN.ResNet"),
            r"builds 'embedding_model' from 'speechbrain\.lobes\.models\.ResNet_TDNN\.ResNet'",
        ),
        (("!new:speechbrain.lobes.features.Fbank", ""), "builds 'compute_features' from 'nothing'"),
        (("norm_type: sentence", "norm_type: global"), "statistics of the training"),
        (("tdnn_blocks: 5", "tdnn_blocks: !apply:int ['5']"), "'tdnn_blocks' to something that"),
        (("tdnn_blocks: 5", "tdnn_blocks: !ref <n_mels> * 2"), "'tdnn_blocks' to something that"),
        (("n_mels: 24", "n_mels: !ref <n_mels>"), "'n_mels' to something that"),
        (("!name:torch.nn.LeakyReLU", "!name:os.system"), "'activation' to something that"),
        (("n_mels: 24", "n_mels: [24"), "not valid YAML"),
    ],
)
def test_unsupported_hyperparams_raise(folders, tmp_path, replacement, says):
    folder = _copy(folders["xvector"], tmp_path)
    _edit(folder, replacement)
    with pytest.raises(ValueError, match=says):
        _load(folder)


def test_hyperparams_that_are_not_a_mapping_raise(folders, tmp_path):
    folder = _copy(folders["xvector"], tmp_path)
    (folder / "hyperparams.yaml").write_text("just words")
    with pytest.raises(ValueError, match="is not a mapping"):
        _load(folder)


def test_unsupported_settings_raise(folders, tmp_path):
    folder = _copy(folders["xvector"], tmp_path)
    _edit(folder, ("tdnn_blocks: 5", "tdnn_blocks: 5\n    wings: 2"))
    with pytest.raises(ValueError, match=r"settings that Xvector.*does not support.*wings"):
        _embed(_load(folder), _noise(8000))


def test_missing_settings_are_the_defaults_of_the_class(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(
        "embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN\n"
        "    input_size: 80\n"
        "compute_features: !new:speechbrain.lobes.features.Fbank\n"
    )
    checkpoint = Checkpoint("model", tmp_path, ())
    found = Settings(checkpoint).read("compute_features", ["speechbrain.lobes.features.Fbank"])
    assert found == ("speechbrain.lobes.features.Fbank", {})


def test_missing_and_unexpected_weights_raise(folders, tmp_path):
    folder = _copy(folders["ecapa"], tmp_path)

    def edit(weights):
        weights["fc.conv.more"] = weights.pop("fc.conv.bias")

    _edit_weights(folder, edit)
    says = r"1 missing \(fc\.conv\.bias\); 1 unexpected \(fc\.conv\.more\)"
    with pytest.raises(ValueError, match=says):
        _embed(_load(folder), _noise(8000))


def test_weights_of_other_sizes_raise(folders, tmp_path):
    folder = _copy(folders["xvector"], tmp_path)
    _edit(folder, ("    lin_neurons: 20\n\nclassifier", "    lin_neurons: 21\n\nclassifier"))
    with pytest.raises(ValueError, match="describes 21 dimensions, which no weight has"):
        _embed(_load(folder), _noise(8000))


def test_failed_import_raises_before_any_download(monkeypatch):
    """The error of SpeechBrain's import if torchaudio is incompatible with torch."""
    from sklearn_ser import _extras
    from sklearn_ser.backbones import _checkpoint

    def fail(name):
        raise OSError("libcudart.so.13: cannot open shared object file")

    def find_nothing(*args, local_files_only):
        assert local_files_only
        raise OSError

    monkeypatch.setattr(_extras, "import_module", fail)
    monkeypatch.setattr(_extras, "version", {"torch": "2.12.1", "torchaudio": "2.11.1"}.get)
    monkeypatch.setattr(_checkpoint, "_download", find_nothing)
    with pytest.raises(ImportError, match=r"pip install 'torchaudio==2\.11\.0' .*libcudart"):
        _load("speechbrain/spkrec-xvect-voxceleb")
