"""SoundStream of Lyra v2, as streaming TensorFlow Lite graphs."""

from functools import lru_cache

import numpy as np
import torch

from sklearn_ser._extras import import_extra

from ._codec import Codec
from ._weights import unreadable_error

_FRAME = 320  # samples, 20 ms
_BOOK_SIZE = 16  # codewords per stage (4 bits)
_NO_CODE = -1  # the quantiser's code for an unused stage, decoded as zero


class LyraCodec(Codec):
    """Lyra's streaming encoder, and its residual quantiser of 46 stages.

    The state of the encoder cannot be reset, so a new interpreter is created for each recording;
    the operating system maps the file into memory once. Interpreters are not shared between
    threads.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint with ``soundstream_encoder.tflite`` and ``quantizer.tflite``.
    device : str
        Ignored; Lyra runs on the CPU.
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
        ) as error:  # damaged files
            raise unreadable_error(checkpoint, error) from error

    def encode(self, waveform):
        """Return the latents, the last frame padded with zeros."""
        frames = np.pad(waveform, (0, -len(waveform) % _FRAME)).reshape(-1, 1, _FRAME)
        interpreter, input_index, output_index = self._open_encoder()
        latents = np.empty((len(frames), self.n_dims), dtype=np.float32)
        for frame, latent in zip(frames, latents, strict=True):
            interpreter.set_tensor(input_index, frame)
            interpreter.invoke()
            latent[:] = interpreter.get_tensor(output_index)[0, 0]
        return torch.from_numpy(latents)

    def _open_encoder(self):
        """Return a new interpreter, and the indices of its input and output tensors."""
        interpreter = self._interpreter(self._encoder, num_threads=1)
        interpreter.allocate_tensors()
        (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
        if (*inputs["shape"], *outputs["shape"]) != (1, _FRAME, 1, 1, self.n_dims):
            raise ValueError(
                f"{self._encoder} does not map {_FRAME} samples to {self.n_dims} latents"
            )
        return interpreter, inputs["index"], outputs["index"]

    def quantize(self, latents):
        """Yield the sums of codewords, with the codes of the quantiser's own graph."""
        codebooks = self._codebooks()
        codes = self._choose_codes(latents.numpy())
        total = np.zeros(latents.shape, dtype=np.float32)
        for codebook, chosen in zip(codebooks, codes, strict=True):
            total = total + codebook[chosen]
            yield torch.from_numpy(total)

    def _choose_codes(self, latents):
        """Return the codes, of shape (n_quantizers, n_frames)."""
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
    """Return the codewords, of shape (n_quantizers, 16, n_dims)."""
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
