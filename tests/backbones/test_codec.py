"""Codecs equal the encoders of their libraries on one recording at a time."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sklearn_ser import CodecEmbedder, EmbeddingStore
from sklearn_ser.backbones import Codec, load_codec, register_codec
from sklearn_ser.backbones import _search as search
from small_codecs import CODECS, make_codec, small_codec
from small_networks import mostly_slow, small_network

TOLERANCE = 1e-5
LENGTHS = (1, 2, 7, 100, 319, 320, 321, 1919, 1921, 5000, 48001, 60000)


def noise(n_samples, seed=0):
    rng = np.random.default_rng([seed, n_samples])
    return (0.1 * rng.standard_normal(n_samples)).astype(np.float32)


def own_frames(backbone, waveforms, last_layer=None):
    """Return the latents and sums of codewords of each waveform."""
    last_layer = backbone.n_layers - 1 if last_layer is None else last_layer
    layers = backbone.encode(waveforms, last_layer)
    return list(map(torch.stack, zip(*layers, strict=True)))


def assert_close(own, reference):
    assert own.shape == reference.shape
    assert torch.linalg.norm(own - reference) <= TOLERANCE * torch.linalg.norm(reference)


def assert_codewords_close(own, reference):
    """Assert equality of all frames but one, whose codeword rounding may have decided."""
    assert own.shape == reference.shape
    differences = torch.linalg.norm(own - reference, dim=1)
    is_other = differences > TOLERANCE * torch.linalg.norm(reference, dim=1)
    assert is_other.sum() <= 1


codec_of_the_library = functools.cache(make_codec)


def by_transformers(name, waveform, n_quantizers):
    """Return the latents and the decoder input of the library's encoder."""
    codec = codec_of_the_library(name)
    samples = torch.from_numpy(waveform)[None, None]
    with torch.no_grad():
        return {"encodec": _by_encodec, "dac": _by_dac, "mimi": _by_mimi}[name.partition("-")[0]](
            codec, samples, n_quantizers
        )


def _by_encodec(codec, samples, n_quantizers):
    codec.config.target_bandwidths = [
        n_quantizers * codec.config.frame_rate * codec.config.codebook_nbits / 1000
    ]
    latents = []
    hook = codec.encoder.register_forward_hook(lambda *call: latents.append(call[-1]))
    encoded = codec.encode(samples.expand(-1, codec.config.audio_channels, -1))
    hook.remove()
    quantized = [codec.quantizer.decode(codes.transpose(0, 1)) for codes in encoded.audio_codes]
    pad = encoded.last_frame_pad_length
    quantized[-1] = quantized[-1][..., : quantized[-1].shape[-1] - pad]
    return torch.cat(latents, dim=-1)[0].T, torch.cat(quantized, dim=-1)[0].T


def _by_dac(codec, samples, n_quantizers):
    from transformers import DacFeatureExtractor

    extractor = DacFeatureExtractor(sampling_rate=16000, hop_length=codec.config.hop_length)
    inputs = extractor(samples[0, 0].numpy(), sampling_rate=16000, return_tensors="pt")
    encoded = codec.encode(inputs["input_values"], n_quantizers=n_quantizers)
    latents = codec.encoder(inputs["input_values"])
    return latents[0].T, codec.quantizer.from_codes(encoded.audio_codes)[0][0].T


def _by_mimi(codec, samples, n_quantizers):
    codes = codec.encode(samples, num_quantizers=n_quantizers).audio_codes
    return codec.encoder(samples).latents[0].T, codec.quantizer.decode(codes)[0].T


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("n_quantizers", [1, 2, 4])
def test_each_recording_is_encoded_as_the_library_does(name, n_quantizers):
    waveforms = [noise(length) for length in LENGTHS]
    backbone = load_codec(small_codec(name), device="cpu")
    for waveform, own in zip(waveforms, own_frames(backbone, waveforms), strict=True):
        latents, quantized = by_transformers(name, waveform, n_quantizers)
        assert_close(own[0], latents)
        assert_codewords_close(own[n_quantizers], quantized)


@pytest.mark.parametrize("name", mostly_slow(CODECS))
def test_results_do_not_depend_on_neighbours_and_order(name):
    waveforms = [noise(length) for length in (50001, 10, 7777, 24000)]
    backbone = load_codec(small_codec(name), device="cpu")
    together = own_frames(backbone, waveforms)
    backward = own_frames(backbone, waveforms[::-1])[::-1]
    for waveform, own, other in zip(waveforms, together, backward, strict=True):
        [alone] = own_frames(backbone, [waveform])
        assert torch.equal(own, alone)
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", ["dac", "encodec-48khz"])
def test_padding_would_change_the_latents(name):
    """The reason for encoding recordings separately: trailing zeros change the latents."""
    waveform = noise(7040)
    backbone = load_codec(small_codec(name), device="cpu")
    [alone] = own_frames(backbone, [waveform], last_layer=0)
    [padded] = own_frames(backbone, [np.pad(waveform, (0, 9600))], last_layer=0)
    moved = padded[:, : alone.shape[1]] - alone
    assert torch.linalg.norm(moved) > 0.001 * torch.linalg.norm(alone)


def test_unused_stages_are_not_computed():
    backbone = load_codec(small_codec("encodec"), device="cpu")
    ran = []
    stages = backbone.codec._network().quantizer.layers
    originals = [stage.encode for stage in stages]
    try:
        for number, stage in enumerate(stages, start=1):
            stage.encode = lambda left, n=number: ran.append(n) or originals[n - 1](left)
        own_frames(backbone, [noise(1000)], last_layer=3)
    finally:
        for stage in stages:
            del stage.encode
    assert ran == [1, 2, 3]


def test_names_rates_and_sizes():
    read = {}
    for name in CODECS:
        backbone = load_codec(small_codec(name), device="cpu")
        read[backbone.name] = (backbone.sampling_rate, backbone.stride, backbone.n_dims)
    assert read == {
        "encodec24": (24000, 320, 16),
        "encodec16": (16000, 320, 16),
        "encodec48": (48000, 320, 16),
        "dac16": (16000, 320, 64),
        "mimi": (24000, 1920, 16),
    }


# Loading


@pytest.mark.parametrize("name", CODECS)
def test_weights_are_shared_and_frozen(name):
    first, second = (load_codec(small_codec(name), device="cpu").codec for _ in range(2))
    assert first._network() is second._network()
    assert not first._network().training
    assert not any(weight.requires_grad for weight in first._network().parameters())


def _copy(name, tmp_path):
    return Path(shutil.copytree(small_codec(name), tmp_path / name))


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("encodec", "encoder.layers.0.conv.bias"),
        ("dac", "quantizer.quantizers.1.codebook.weight"),
        ("mimi", "encoder_transformer.layers.0.mlp.fc1.weight"),
    ],
)
def test_missing_and_unexpected_weights_raise(name, lost, tmp_path):
    folder = _copy(name, tmp_path)
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if key != lost}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 missing"):
        own_frames(load_codec(folder, device="cpu"), [noise(500)])
    stray = lost.replace(".0.", ".90.").replace(".1.", ".90.")
    save_file(
        weights | {stray: weights[lost].clone()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"1 unexpected .*90"):
        own_frames(load_codec(folder, device="cpu"), [noise(500)])


def test_mimi_of_older_transformers(monkeypatch):
    """In older versions, transformer and downsampling are attributes of the model."""
    backbone = load_codec(small_codec("mimi"), device="cpu")
    expected = backbone.codec.encode(noise(5000))
    halves = backbone.codec._network().encoder

    class Older:
        encoder = staticmethod(halves.encoder_seanet)
        encoder_transformer = halves.encoder_transformer
        downsample = halves.downsample

    monkeypatch.setattr(backbone.codec, "_network", lambda: Older)
    assert torch.equal(backbone.codec.encode(noise(5000)), expected)


# Values of `model`


def test_names_of_codecs_are_found_on_the_hub(monkeypatch):
    asked = []

    def find(model, *, revision, local_files_only, **others):
        asked.append((model, revision, local_files_only))
        raise OSError

    monkeypatch.setattr(search, "find_checkpoint", find)
    for name in search._ON_THE_HUB:
        with pytest.raises(OSError):  # noqa: PT011
            load_codec(name, device="cpu", revision="v1", local_files_only=True)
    assert asked == [(hub_id, "v1", True) for hub_id in search._ON_THE_HUB.values()]


def test_an_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"'encodec'.*encodec_24khz, .*soundstream.*owner/name"):
        load_codec("encodec", device="cpu")


def test_network_that_is_not_a_codec_raises():
    with pytest.raises(ValueError, match=r"type 'wavlm'.*encodec, dac, mimi and snac"):
        load_codec(small_network("wavlm"), device="cpu")


def test_file_with_another_name_raises(tmp_path):
    path = tmp_path / "weights.th"
    path.touch()
    with pytest.raises(ValueError, match=r"weights\.th.*encodec_24khz-\*\.th"):
        load_codec(path, device="cpu")


def test_folder_without_codec_lists_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json.*soundstream_encoder\.tflite"):
        load_codec(tmp_path, device="cpu")


def test_folder_with_several_checkpoints_raises(tmp_path):
    for name in ("encodec_24khz-1.th", "encodec_48khz-1.th"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"24khz-1\.th, encodec_48khz-1\.th\): name the file"):
        load_codec(tmp_path, device="cpu")


def test_missing_extra_raises_before_any_download(monkeypatch):
    monkeypatch.setattr("sklearn_ser._extras.import_module", _fail)
    monkeypatch.setattr("sklearn_ser.backbones._checkpoint._download", _find_nothing)
    with pytest.raises(ImportError, match=r"pip install -c constraints\.txt '\.\[snac\]'"):
        CodecEmbedder("snac").fit(["no such recording.wav"])


def _find_nothing(*args, local_files_only):
    assert local_files_only
    raise OSError


def _fail(module):
    raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])


@pytest.mark.parametrize("extra", ["encodec", "snac", "lyra"])
def test_missing_extra_names_the_install_command(extra, tmp_path, monkeypatch):
    files = {
        "encodec": {"encodec_24khz-d7cc33bc.th": ""},
        "snac": {"config.json": json.dumps({"vq_strides": [1]}), "pytorch_model.bin": ""},
        "lyra": {"soundstream_encoder.tflite": "", "quantizer.tflite": ""},
    }
    for name, text in files[extra].items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("sklearn_ser._extras.import_module", _fail)
    with pytest.raises(ImportError, match=rf"pip install -c constraints\.txt '\.\[{extra}\]'"):
        load_codec(tmp_path, device="cpu")


# The registry


class Toy(Codec):
    name, sampling_rate, stride, n_dims, n_quantizers = "toy", 8000, 4, 4, 2

    def encode(self, waveform):
        return np.pad(waveform, (0, -len(waveform) % 4)).reshape(-1, 4)

    def quantize(self, latents):
        yield latents.round(1)
        yield latents.round(2)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(search, "_registered", {})
    calls = []
    register_codec("toy", lambda **settings: calls.append(settings) or Toy())
    return calls


def test_custom_codec(toy):
    backbone = load_codec("toy", device="cpu", revision="v1")
    assert toy == [{"device": "cpu", "revision": "v1", "local_files_only": False}]
    waveforms = [noise(8), noise(5)]
    for waveform, own in zip(waveforms, own_frames(backbone, waveforms), strict=True):
        padded = np.pad(waveform, (0, -len(waveform) % 4)).reshape(-1, 4)
        np.testing.assert_array_equal(own[0], padded)
        np.testing.assert_array_equal(own[1], padded.round(1))
        np.testing.assert_array_equal(own[2], padded.round(2))


def test_codec_with_inconsistent_shapes_raises(toy, monkeypatch):
    monkeypatch.setattr(Toy, "n_dims", 3)
    with pytest.raises(ValueError, match=r"encode returned an array of shape \(2, 4\).*\(2, 3\)"):
        own_frames(load_codec("toy", device="cpu"), [noise(8)])


@pytest.mark.parametrize(
    ("stages", "says"),
    [([], "stage 1 of quantize returned nothing"), ([np.ones((1, 4))], r"stage 1 .*\(1, 4\)")],
)
def test_missing_or_too_short_stages_raise(toy, monkeypatch, stages, says):
    monkeypatch.setattr(Toy, "quantize", lambda self, latents: stages)
    with pytest.raises(ValueError, match=says):
        own_frames(load_codec("toy", device="cpu"), [noise(8)])


def test_register_codec_checks_its_arguments(toy):
    for name, load in ((5, Toy), ("other", 3)):
        with pytest.raises(TypeError, match="register_codec takes a name and a function"):
            register_codec(name, load)
    for made, says in ((3, "returned a int"), (Codec(), "has no name, no sampling_rate")):
        register_codec("other", lambda made=made, **settings: made)
        with pytest.raises(TypeError, match=says):
            load_codec("other", device="cpu")


def test_code_and_values_of_a_codec_are_part_of_the_cache_key(toy, tmp_path):
    class Rounding(Toy):
        def __init__(self, digits, files=()):
            self.digits, self.files = digits, files
            self._loaded = None  # not part of the cache key

        def quantize(self, latents):
            self._loaded = "weights"
            yield latents.round(self.digits)

    class Truncating(Rounding):
        def quantize(self, latents):
            yield np.trunc(latents)

    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.pt").write_text(folder)
    here, there = (str(tmp_path / folder / "model.pt") for folder in "ab")
    store = EmbeddingStore(tmp_path / "store")
    embedder = CodecEmbedder("toy", n_quantizers=1, sampling_rate=8000, memory=store)
    codecs = [
        Rounding(1),
        Rounding(0),
        Truncating(1),
        Rounding(1, (here, there)),
        Rounding(1, (there, there)),
    ]
    for n_kept, codec in enumerate(codecs, start=1):
        codec.n_quantizers = 1
        register_codec("toy", lambda codec=codec, **settings: codec)
        kept = [embedder.fit_transform([np.full(8, 0.26)]) for _ in range(2)]
        assert len(store) == n_kept
        expected = next(codec.quantize(np.full((1, 4), 0.26, dtype=np.float32)))
        np.testing.assert_allclose(kept, [expected, expected], rtol=1e-6)


def test_names_of_the_package_cannot_be_registered(toy):
    with pytest.raises(ValueError, match="name='mimi' is one of the package's own"):
        register_codec("mimi", Toy)
