"""Base class of neural audio codecs, and the backbone that runs them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ._base import AudioBackbone
from ._checkpoint import Checkpoint


class Codec:
    """Base class of neural audio codecs.

    A subclass sets the attributes and defines `encode` and `quantize`, each for one recording.

    Attributes
    ----------
    name : str
        Prefix of column names. It should be short and not change.
    sampling_rate : int
        Sampling rate of the waveforms, in Hz.
    stride : int
        Number of samples between frames.
    n_dims : int
        Dimension of the latents, before and after quantisation.
    n_quantizers : int
        Number of stages of the residual quantiser.
    files : tuple of path
        Files that affect the output of the codec. The cache key of embeddings includes their
        content, the code of the codec's methods, and its attributes that are numbers, text,
        arrays or sequences of these, except those whose names start with an underscore.
    min_samples : int
        Minimum number of samples of a waveform; shorter ones are padded with zeros.
    cuts_by_itself : bool
        Whether the codec splits long recordings itself, so that no windows are needed. Memory
        then grows with the number of latents of a recording.

    See Also
    --------
    register_codec : Register a codec under a name.
    CodecEmbedder : Latents of a codec as a scikit-learn transformer.

    Examples
    --------
    A codec with frames of four samples and a quantiser of two stages, which round to one and two
    decimals:

    >>> import numpy as np
    >>> from sklearn_ser import Codec, CodecEmbedder, register_codec
    >>> class Rounding(Codec):
    ...     name, sampling_rate, stride, n_dims, n_quantizers = "rounding", 8000, 4, 4, 2
    ...
    ...     def encode(self, waveform):
    ...         return np.pad(waveform, (0, -len(waveform) % 4)).reshape(-1, 4)
    ...
    ...     def quantize(self, latents):
    ...         yield latents.round(1)
    ...         yield latents.round(2)
    >>> register_codec("rounding", lambda **settings: Rounding())
    >>> embedder = CodecEmbedder("rounding", sampling_rate=8000, n_quantizers=1)
    >>> embedder.fit_transform([np.full(8, 0.234)])
    array([[0.2, 0.2, 0.2, 0.2]], dtype=float32)
    """

    name: str
    sampling_rate: int
    stride: int
    n_dims: int
    n_quantizers: int
    files: tuple[str | Path, ...] = ()
    min_samples = 1
    cuts_by_itself = False

    def n_frames(self, n_samples):
        """Return the number of frames of a waveform.

        Parameters
        ----------
        n_samples : int
            Length of the waveform, at least `min_samples`.

        Returns
        -------
        n_frames : int
            Number of frames that `encode` returns, without frames of padding at the end.
        """
        return -(-n_samples // self.stride)

    def encode(self, waveform):
        """Return the latents before quantisation.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            Waveform at `sampling_rate`, with at least `min_samples`.

        Returns
        -------
        latents : Tensor or ndarray of shape (n_frames, n_dims)
            Latents in temporal order, `n_frames` of them or more, if the codec pads.
        """
        raise NotImplementedError

    def quantize(self, latents):
        """Yield the quantised latents after one stage of the quantiser, two stages, and so on.

        Parameters
        ----------
        latents : Tensor or ndarray of shape (n_frames, n_dims)
            Output of `encode`.

        Yields
        ------
        quantized : Tensor or ndarray of shape (n_frames, n_dims)
            Input of the decoder: the sum of the codewords of all stages so far. The generator is
            stopped after the last stage that is needed.
        """
        raise NotImplementedError


class CodecBackbone(AudioBackbone):
    """A codec as a backbone: layer 0 is the latents, layer k the latents after k stages.

    Recordings are encoded one at a time, so a result cannot depend on the rest of the batch.

    Parameters
    ----------
    codec : Codec
        The codec.
    model : str
        Name or path, as passed by the user.
    device : str
        Device of the network.
    fingerprint : sequence, default=()
        Functions and values that are part of the cache key, in addition to the codec's files.
    """

    def __init__(self, codec, model, *, device, fingerprint=()):
        checkpoint = Checkpoint(model, Path(), tuple(map(Path, codec.files)))
        super().__init__(checkpoint, device=device, dtype=torch.float32)
        self.codec = codec
        self.fingerprint = fingerprint
        self.name = codec.name
        self.sampling_rate = codec.sampling_rate
        self.n_layers = codec.n_quantizers + 1
        self.n_dims = codec.n_dims
        self.stride = codec.stride
        self.min_samples = codec.min_samples
        self.cuts_by_itself = codec.cuts_by_itself

    def n_frames(self, n_samples):
        """Return the number of frames of a waveform."""
        return self.codec.n_frames(n_samples)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the latents, then the quantised latents after 1 to `last_layer` stages.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms, each with at least `min_samples`.
        last_layer : int
            Number of stages of the quantiser to compute.

        Yields
        ------
        hidden_states : list of Tensor of shape (n_frames, n_dims)
            Of each recording, without frames of padding.
        """
        latents = [self.codec.encode(waveform) for waveform in waveforms]
        n_samples = list(map(len, waveforms))
        yield self._frames(latents, n_samples, "encode")
        stages = [iter(self.codec.quantize(latent)) for latent in latents]
        for stage in range(1, last_layer + 1):
            quantized = [next(sums, None) for sums in stages]
            yield self._frames(quantized, n_samples, f"stage {stage} of quantize")

    def _frames(self, latents, n_samples, source):
        """Return the frames of each recording, after checking their shape."""
        frames = []
        for latent, length in zip(latents, n_samples, strict=True):
            n_frames, shape = self.n_frames(length), np.shape(latent)
            if len(shape) != 2 or shape[1] != self.n_dims or shape[0] < n_frames:
                found = "nothing" if latent is None else f"an array of shape {tuple(shape)}"
                raise ValueError(
                    f"The codec {self.name!r}: {source} returned {found} for {length} samples; "
                    "according to n_frames, n_dims and n_quantizers, the shape must be "
                    f"({n_frames}, {self.n_dims})."
                )
            frames.append(torch.as_tensor(latent)[:n_frames])
        return frames


def fingerprint(codec):
    """Return the parts of a codec, except its files, that belong in the cache key.

    Parameters
    ----------
    codec : Codec
        Instance of a user-defined class.

    Returns
    -------
    parts : list
        Functions, and values with a unique `repr`.
    """
    classes = [cls for cls in type(codec).__mro__ if cls not in Codec.__mro__]
    defined = [(name, value) for cls in classes for name, value in sorted(vars(cls).items())]
    # Of properties, static methods and class methods, the function.
    functions = [getattr(v, "__func__", getattr(v, "fget", v)) for _, v in defined]
    values = dict(reversed(defined)) | vars(codec)
    return [
        *(function for function in functions if hasattr(function, "__code__")),
        *(
            (name, value.tolist() if isinstance(value, np.ndarray) else value)
            for name, value in sorted(values.items())
            if not name.startswith("_") and _is_plain(value)
        ),
    ]


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str, np.ndarray, np.generic))


def quantize_residuals(
    latents: torch.Tensor, stages: Iterable[Callable[[torch.Tensor], torch.Tensor]]
) -> Iterator[torch.Tensor]:
    """Apply residual quantisation: each stage quantises the residual of the previous ones.

    Parameters
    ----------
    latents : Tensor of shape (n_frames, n_dims)
        Latents of one recording.
    stages : iterable of callable
        Functions from residuals of shape (1, n_dims, n_frames) to their quantised values.

    Yields
    ------
    quantized : Tensor of shape (n_frames, n_dims)
        Sum of the outputs of all stages so far.
    """
    residual = latents.T[None]
    total = torch.zeros_like(residual)
    for stage in stages:
        quantized = stage(residual)
        residual = residual - quantized
        total = total + quantized
        yield total[0].T


def as_input(waveform: np.ndarray, device: str, *, multiple_of: int = 1) -> torch.Tensor:
    """Return a waveform as a tensor of shape (1, 1, n_samples), padded with zeros at the end."""
    samples = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % multiple_of)))
    return samples.to(device)[None, None]
