"""SoundStream as Google ships it in Lyra v2: TensorFlow Lite graphs that stream."""

from functools import lru_cache

import numpy as np
import torch

from sklearn_ser._extras import import_extra

from ._checkpoint import Layout, unreadable
from ._codec import Codec

LYRA = Layout(
    settings=("soundstream_encoder.tflite",),
    weights=(("quantizer.tflite",),),
    origin="a copy of Lyra's model_coeffs",
)
_FRAME = 320  # samples, 20 ms
_BOOK_SIZE = 16  # codewords of a stage: four bits
_NO_CODE = -1  # what the quantiser writes for stages beyond those asked for, and reads as zero


class LyraCodec(Codec):
    """Lyra's encoder, a frame at a time, and its residual quantiser of 46 stages.

    The encoder keeps the past in variables that nothing clears, so that each recording has an
    interpreter of its own; the file is mapped into memory once, by the operating system. An
    interpreter belongs to the call that made it, and so to one thread.

    Parameters
    ----------
    checkpoint : Checkpoint
        A folder with ``soundstream_encoder.tflite`` and ``quantizer.tflite``.
    device : str
        Not used: it runs on the CPU.
    """

    name = "lyra"
    sampling_rate = 16000
    stride = _FRAME
    n_dims = 64
    cuts_by_itself = True

    def __init__(self, checkpoint, *, device):
        self._interpreter = import_extra(
            "ai_edge_litert.interpreter", extra="lyra", needed_for="Lyra's SoundStream"
        ).Interpreter
        self.files = checkpoint.files
        self._encoder, self._quantizer = (str(path) for path in checkpoint.files)
        self._version = checkpoint.version
        try:
            self._open_encoder()
            self.n_quantizers = len(self._codebooks())
        except (
            ValueError,
            KeyError,
            IndexError,
            RuntimeError,
        ) as error:  # whatever is in the files
            raise unreadable(checkpoint, error) from error

    def encode(self, waveform):
        """Return the encoder's output for each frame; the last is filled up with zeros."""
        frames = np.pad(waveform, (0, -len(waveform) % _FRAME)).reshape(-1, 1, _FRAME)
        interpreter, entry, exit_ = self._open_encoder()
        latents = np.empty((len(frames), self.n_dims), dtype=np.float32)
        for frame, latent in zip(frames, latents, strict=True):
            interpreter.set_tensor(entry, frame)
            interpreter.invoke()
            latent[:] = interpreter.get_tensor(exit_)[0, 0]
        return torch.from_numpy(latents)

    def _open_encoder(self):
        """Return a fresh interpreter, and where it takes samples and gives latents."""
        interpreter = self._interpreter(self._encoder, num_threads=1)
        interpreter.allocate_tensors()
        (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
        if (*entry["shape"], *exit_["shape"]) != (1, _FRAME, 1, 1, self.n_dims):
            raise ValueError(
                f"{self._encoder} is no encoder of {_FRAME} samples into {self.n_dims} numbers"
            )
        return interpreter, entry["index"], exit_["index"]

    def quantize(self, latents):
        """Yield the sums of codewords, whose numbers the quantiser's own graph chooses."""
        codebooks = self._codebooks()
        codes = self._choose_codes(latents.numpy())
        total = np.zeros(latents.shape, dtype=np.float32)
        for codebook, chosen in zip(codebooks, codes, strict=True):
            total = total + codebook[chosen]
            yield torch.from_numpy(total)

    def _choose_codes(self, latents):
        """Return the numbers of codewords, of shape (n_quantizers, n_frames)."""
        encode = self._interpreter(self._quantizer, num_threads=1).get_signature_runner("encode")
        n_quantizers = np.int32(self.n_quantizers)
        codes = [
            encode(input_frames=latent[None, None], num_quantizers=n_quantizers)["output_0"]
            for latent in latents
        ]
        return np.stack(codes, axis=-1).reshape(self.n_quantizers, -1)

    def _codebooks(self):
        return _read_codebooks(self._interpreter, self._quantizer, self._version)


@lru_cache(maxsize=2)
def _read_codebooks(interpreter, path, version):
    """Return the codewords, of shape (n_quantizers, 16, n_dims), which the decoder adds up."""
    decode = interpreter(path, num_threads=1).get_signature_runner("decode")
    n_quantizers = decode.get_input_details()["encoding_indices"]["shape"][0]
    codebooks = []
    for stage in range(n_quantizers):
        codes = np.full((n_quantizers, 1, 1), _NO_CODE, dtype=np.int32)
        codewords = []
        for code in range(_BOOK_SIZE):
            codes[stage] = code
            codewords.append(decode(encoding_indices=codes)["output_0"].ravel())
        codebooks.append(np.stack(codewords))
    return np.stack(codebooks)
