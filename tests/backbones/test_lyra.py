"""Lyra's SoundStream equals its graphs run frame by frame, on the real weights."""

import threading

import numpy as np
import pytest
import soundfile
import torch

from plain_librosa import librosa
from sklearn_ser.backbones import load_codec

pytest.importorskip("ai_edge_litert")

FRAME = 320


@pytest.fixture
def folder(weights_folder):
    return weights_folder("lyra-soundstream")


@pytest.fixture
def codec(folder):
    return load_codec(folder, device="cpu").codec


def _sample(folder, number):
    waveform, rate = soundfile.read(folder / f"sample{number}_16kHz.wav", dtype="float32")
    assert rate == 16000
    return waveform


def _runner(folder, name, signature=None):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(folder / name), num_threads=1).get_signature_runner(signature)


def _encode_by_hand(folder, waveform):
    """Return the output of a new interpreter, frame by frame."""
    run = _runner(folder, "soundstream_encoder.tflite")
    frames = np.pad(waveform, (0, -len(waveform) % FRAME)).reshape(-1, 1, FRAME)
    return np.stack([run(input_audio=frame)["output_0"].ravel().copy() for frame in frames])


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 5000, None])
def test_latents_are_those_of_the_graph_frame_by_frame(folder, codec, n_samples):
    waveform = _sample(folder, 1)[8000:][:n_samples]
    latents = codec.encode(waveform)
    np.testing.assert_array_equal(latents, _encode_by_hand(folder, waveform))
    assert len(latents) == codec.n_frames(len(waveform)) == -(-len(waveform) // FRAME)


@pytest.mark.parametrize("n_quantizers", [1, 16, 46])
def test_sums_of_codewords_are_what_the_quantiser_decodes(folder, codec, n_quantizers):
    latents = codec.encode(_sample(folder, 2)[:32000])
    encode = _runner(folder, "quantizer.tflite", "encode")
    decode = _runner(folder, "quantizer.tflite", "decode")
    expected = []
    for latent in latents.numpy():
        codes = encode(input_frames=latent[None, None], num_quantizers=np.int32(n_quantizers))
        expected.append(decode(encoding_indices=codes["output_0"])["output_0"].ravel().copy())
    quantized = list(codec.quantize(latents))
    assert len(quantized) == codec.n_quantizers == 46
    np.testing.assert_allclose(quantized[n_quantizers - 1], expected, rtol=1e-5, atol=1e-5)


def test_no_state_between_recordings(folder, codec):
    first, second = _sample(folder, 1), _sample(folder, 2)
    alone = codec.encode(second)
    codec.encode(first)
    assert torch.equal(codec.encode(second), alone)


def test_threads_do_not_share_interpreters(folder):
    samples = [_sample(folder, number)[:24000] for number in (1, 2)]
    expected = [load_codec(folder, device="cpu").codec.encode(sample) for sample in samples]
    found = {}

    def work(number):
        codec = load_codec(folder, device="cpu").codec
        found[number] = [codec.encode(samples[number % 2]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, latents in found.items():
        assert all(torch.equal(own, expected[number % 2]) for own in latents)


def _decode(folder, quantized):
    run = _runner(folder, "lyragan.tflite")
    frames = [run(input_audio=own[None, None])["output_0"].ravel().copy() for own in quantized]
    return np.concatenate(frames)


def _log_mel(waveform):
    bands = librosa.feature.melspectrogram(y=waveform, sr=16000, n_fft=1024, hop_length=160)
    return librosa.power_to_db(bands, ref=np.max, top_db=80).ravel()


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_decoded_latents_resemble_the_recording(folder, codec, number):
    """The decoder reconstructs the recording from the quantised latents."""
    waveform = _sample(folder, number)
    *_, quantized = codec.quantize(codec.encode(waveform))
    decoded = _decode(folder, quantized.numpy())[: len(waveform)]
    original = _log_mel(waveform)
    # The codec delays by a few hops.
    correlations = [
        np.corrcoef(original, _log_mel(np.roll(decoded, -delay)))[0, 1]
        for delay in range(0, 3 * FRAME, 40)
    ]
    assert max(correlations) >= 0.95


def test_codec_runs_on_the_cpu_without_windows(codec):
    assert codec.cuts_by_itself
    assert codec.encode(np.zeros(640, np.float32)).device.type == "cpu"


@pytest.mark.parametrize("damage", ["empty", "truncated", "swapped"])
def test_damaged_files_raise(folder, tmp_path, damage):
    names = ["soundstream_encoder.tflite", "quantizer.tflite"]
    for name, other in zip(names, names[::-1], strict=True):
        content = (folder / (other if damage == "swapped" else name)).read_bytes()
        size = {"empty": 0, "truncated": 1000}.get(damage)
        (tmp_path / name).write_bytes(content[:size])
    with pytest.raises(OSError, match=f"weights of model='{tmp_path}' can't be read"):
        load_codec(tmp_path, device="cpu")
