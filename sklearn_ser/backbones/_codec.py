"""What a neural codec is to this package, and how an embedder runs it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ._base import AudioBackbone
from ._checkpoint import Checkpoint


class Codec:
    """A neural audio codec, seen from its encoder: what to subclass for one of your own.

    A subclass sets the attributes and defines `encode` and `quantize`, each for one recording.

    Attributes
    ----------
    name : str
        What columns are called after: short, and the same for ever.
    sampling_rate : int
        Of the waveforms, in Hz.
    stride : int
        Samples from one frame to the next.
    n_dims : int
        Width of a latent, before and after quantisation.
    n_quantizers : int
        Number of stages of the residual quantiser.
    files : tuple of path
        The files that decide what the codec computes. Embeddings are kept by their content, by
        the code of the codec's methods, and by its attributes that are numbers, text, arrays or
        sequences of these; those whose names begin with an underscore don't count.
    min_samples : int
        Samples of the shortest waveform that it encodes; shorter ones get zeros at their end.
    cuts_by_itself : bool
        Whether it cuts long recordings by its own procedure, so that it needs no windows. Memory
        then grows with the latents of a recording.

    See Also
    --------
    register_codec : Give a codec a name.
    CodecEmbedder : Recordings through a codec, as rows.

    Examples
    --------
    Frames of four samples, and a quantiser of two stages that round to tenths and hundredths:

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
    >>> embedder.fit_transform([np.full(8000, 0.234)])
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
        """Count the frames that cover so many samples.

        Parameters
        ----------
        n_samples : int
            Length of a waveform, at least `min_samples`.

        Returns
        -------
        n_frames : int
            As many as `encode` gives, or fewer where the last of these are padding.
        """
        return -(-n_samples // self.stride)

    def encode(self, waveform):
        """Return the latents before quantisation.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            At `sampling_rate`, at least `min_samples` long.

        Returns
        -------
        latents : Tensor or ndarray of shape (n_frames, n_dims)
            Frames in the order of time, `n_frames` of them, or more where it pads.
        """
        raise NotImplementedError

    def quantize(self, latents):
        """Yield the quantised latents, with one stage of the quantiser, with two, and so on.

        Parameters
        ----------
        latents : Tensor or ndarray of shape (n_frames, n_dims)
            What `encode` returned.

        Yields
        ------
        quantized : Tensor or ndarray of shape (n_frames, n_dims)
            As the decoder takes them: the sum of codewords of the stages so far. Only as many are
            asked for as are needed.
        """
        raise NotImplementedError


class CodecBackbone(AudioBackbone):
    """A codec as a backbone: its latents are layer 0, those after k stages are layer k.

    Each recording passes through the codec alone, so that it can't depend on its neighbours.

    Parameters
    ----------
    codec : Codec
        The codec.
    model : str
        What the user called it.
    device : str
        Where its network runs.
    fingerprint : sequence, default=()
        What the codec is told from others by, besides its files.
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
        """Count the frames of so many samples."""
        return self.codec.n_frames(n_samples)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the latents, then the quantised latents after 1 to `last_layer` stages.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Each of at least `min_samples`.
        last_layer : int
            Stages of the quantiser to compute.

        Yields
        ------
        latents : Tensor of shape (n_waveforms, n_frames, n_dims)
            What follows a recording's own frames is silence or means nothing.
        """
        latents = [self.codec.encode(waveform) for waveform in waveforms]
        n_samples = list(map(len, waveforms))
        self._check(latents, n_samples, "encode")
        yield _pad(latents)
        stages = [iter(self.codec.quantize(own)) for own in latents]
        for stage in range(1, last_layer + 1):
            quantized = [next(sums, None) for sums in stages]
            self._check(quantized, n_samples, f"stage {stage} of quantize")
            yield _pad(quantized)

    def _check(self, latents, n_samples, source):
        for own, length in zip(latents, n_samples, strict=True):
            n_frames, shape = self.n_frames(length), np.shape(own)
            if len(shape) != 2 or shape[1] != self.n_dims or shape[0] < n_frames:
                gave = "nothing" if own is None else f"an array of shape {tuple(shape)}"
                raise ValueError(
                    f"The codec {self.name!r}: {source} gave {gave} for {length} samples; by its "
                    f"n_frames, n_dims and n_quantizers it must give ({n_frames}, {self.n_dims})."
                )


def _pad(latents):
    return pad_sequence([torch.as_tensor(own) for own in latents], batch_first=True)


def fingerprint(codec):
    """Return what a user's codec is told from others by, besides its files.

    Parameters
    ----------
    codec : Codec
        Of any class.

    Returns
    -------
    parts : list
        Functions, and values whose `repr` tells them apart.
    """
    own = [made for made in type(codec).__mro__ if made not in Codec.__mro__]
    defined = [(name, value) for made in own for name, value in sorted(vars(made).items())]
    functions = [getattr(value, "fget", value) for _, value in defined]
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
    """Quantise stage by stage what the stages before have left.

    Parameters
    ----------
    latents : Tensor of shape (n_frames, n_dims)
        Latents of one recording.
    stages : iterable of callable
        Each from what is left, of shape (1, n_dims, n_frames), to what it is quantised to.

    Yields
    ------
    quantized : Tensor of shape (n_frames, n_dims)
        The sum of what the stages so far gave.
    """
    residual = latents.T[None]
    total = torch.zeros_like(residual)
    for stage in stages:
        quantized = stage(residual)
        residual = residual - quantized
        total = total + quantized
        yield total[0].T


def as_input(waveform: np.ndarray, device: str, *, multiple_of: int = 1) -> torch.Tensor:
    """Return a waveform as a network takes it, (1, 1, n_samples), zeros at its end."""
    samples = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % multiple_of)))
    return samples.to(device)[None, None]
