"""Time of the speaker embedder and the codecs, relative to each library's own calls."""

from functools import partial
from pathlib import Path

import numpy as np
import soxr
import torch
import transformers

from sklearn_ser import CodecEmbedder, XVectorEmbedder

from ._bench import RATE, at_least, compare
from ._machine import arithmetic, conditions

CODEC_RATE = 24000
# Parts of a recording in GE2E, in frames of 10 ms: their length, their step, and the least of the
# last one that must be covered.
PART, STEP, COVERED = 160, 77, 120
HOP = 160
FRAME = 320


class GE2E:
    """The procedure of Resemblyzer: a spectrogram of librosa, and the parts of one recording."""

    def __init__(self, path, device):
        weights = torch.load(path, weights_only=True, map_location=device)["model_state"]
        self.lstm = torch.nn.LSTM(40, 256, num_layers=3, batch_first=True).to(device)
        self.lstm.load_state_dict({k[5:]: v for k, v in weights.items() if k.startswith("lstm.")})
        self.weight, self.bias = weights["linear.weight"], weights["linear.bias"]

    def embed(self, waveforms):
        """Embed one recording at a time."""
        return np.stack([self._embed(waveform) for waveform in waveforms])

    def _embed(self, waveform):
        import librosa

        level = 20 * np.log10(np.sqrt(np.mean(waveform**2)))
        waveform = waveform * 10 ** (max(-30 - level, 0) / 20)
        starts = [0]
        while (starts[-1] + STEP + COVERED) * HOP <= len(waveform):
            starts.append(starts[-1] + STEP)
        missing = (starts[-1] + PART) * HOP - len(waveform)
        mels = librosa.feature.melspectrogram(
            y=np.pad(waveform, (0, max(0, missing))), sr=RATE, n_fft=400, hop_length=HOP, n_mels=40
        ).T.astype(np.float32)
        parts = torch.from_numpy(np.stack([mels[start : start + PART] for start in starts]))
        with torch.inference_mode():
            last = self.lstm(parts.to(self.weight.device))[1][0][-1]
            vectors = torch.relu(last @ self.weight.T + self.bias)
            vectors /= vectors.norm(dim=1, keepdim=True)
            mean = vectors.mean(dim=0)
            return (mean / mean.norm()).cpu().numpy()


def ge2e(bench):
    """GE2E with its published weights."""
    folder = bench.find("weights", "ge2e")
    waveforms = bench.waveforms(bench.size(64, 12, 2))
    for n_threads, precision, label in conditions(bench.device, (1,)):
        with arithmetic(n_threads, precision):
            theirs = GE2E(Path(folder, "pretrained.pt"), bench.device)
            ours = XVectorEmbedder(folder, device=bench.device)
            assert np.abs(ours.fit_transform(waveforms) - theirs.embed(waveforms)).max() < 1e-4
            runs = bench.run(
                {
                    "Resemblyzer's loop": partial(theirs.embed, waveforms),
                    "XVectorEmbedder": partial(ours.fit_transform, waveforms),
                }
            )
            yield compare(f"GE2E, {label}", *key_pair(runs), at_least(1.5))


def encodec(bench):
    """EnCodec, of the size of the published network for 24 kHz, with random weights."""
    folder = bench.folder / "encodec"
    if not folder.exists():
        torch.manual_seed(0)
        config = transformers.EncodecConfig(**bench.size({}, {}, {"num_filters": 4}))
        network = transformers.EncodecModel(config).eval()
        for stage in network.quantizer.layers:  # all codewords would be zero
            torch.nn.init.normal_(stage.codebook.embed)
        network.save_pretrained(folder)
    waveforms = [
        soxr.resample(waveform, RATE, CODEC_RATE)
        for waveform in bench.waveforms(bench.size(8, 2, 2))
    ]
    for n_threads, precision, label in conditions(bench.device, (1,)):
        with arithmetic(n_threads, precision):
            network = transformers.EncodecModel.from_pretrained(folder).to(bench.device).eval()
            ours = CodecEmbedder(folder, sampling_rate=CODEC_RATE, device=bench.device)
            runs = bench.run(
                {
                    "transformers, one at a time": partial(
                        encode_by_transformers, network, waveforms
                    ),
                    "CodecEmbedder": partial(ours.fit_transform, waveforms),
                },
                {"CodecEmbedder": {"forward passes": len(waveforms)}},
            )
            yield compare(f"EnCodec, {label}", *key_pair(runs), at_least(1.5))


def encode_by_transformers(network, waveforms):
    """Return the mean of the quantised latents of each recording, with all stages."""
    rows = []
    with torch.inference_mode():
        for waveform in waveforms:
            codes = network.encode(
                torch.from_numpy(waveform)[None, None].to(network.device),
                bandwidth=network.config.target_bandwidths[-1],
            ).audio_codes[0]
            latents = network.quantizer.decode(codes.transpose(0, 1))
            rows.append(latents[0].mean(dim=1).cpu().numpy())
    return np.stack(rows)


def lyra(bench):
    """Lyra's SoundStream, as shipped."""
    folder = bench.find("weights", "lyra-soundstream")
    waveforms = bench.waveforms(bench.size(64, 16, 2))
    ours = CodecEmbedder(folder)
    np.testing.assert_allclose(
        ours.fit_transform(waveforms[:2]), encode_by_litert(folder, waveforms[:2]), atol=1e-4
    )
    runs = bench.run(
        {
            "LiteRT, one at a time": partial(encode_by_litert, folder, waveforms),
            "CodecEmbedder": partial(ours.fit_transform, waveforms),
        }
    )
    yield compare("Lyra", *key_pair(runs), at_least(1.5))


def encode_by_litert(folder, waveforms):
    """Return the mean of the quantised latents of each recording, with all stages."""
    from ai_edge_litert.interpreter import Interpreter

    quantizer = Interpreter(f"{folder}/quantizer.tflite", num_threads=1)
    encode, decode = map(quantizer.get_signature_runner, ("encode", "decode"))
    n_stages = decode.get_input_details()["encoding_indices"]["shape"][0]
    rows = []
    for waveform in waveforms:
        encoder = Interpreter(f"{folder}/soundstream_encoder.tflite", num_threads=1)
        encoder.allocate_tensors()
        (inputs,), (outputs,) = encoder.get_input_details(), encoder.get_output_details()
        latents = []
        for frame in np.pad(waveform, (0, -len(waveform) % FRAME)).reshape(-1, 1, FRAME):
            encoder.set_tensor(inputs["index"], frame)
            encoder.invoke()
            codes = encode(
                input_frames=encoder.get_tensor(outputs["index"]),
                num_quantizers=np.int32(n_stages),
            )["output_0"]
            latents.append(decode(encoding_indices=codes)["output_0"].ravel())
        rows.append(np.mean(latents, axis=0))
    return np.stack(rows)


def key_pair(runs):
    """Return the arguments of `compare` for a pair of runs, of which ours is the last."""
    theirs, ours = runs
    return theirs, runs, ours, theirs
