"""Whisper's encoder, on thirty seconds as it was trained, or on the recording's own length."""

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ._attention import attend_to, call_block
from ._checkpoint import load_network
from ._transformers import import_transformers


class WhisperBackbone:
    """The frozen encoder of Whisper.

    Spectrogram and convolutions see one recording at a time, so that nothing is padded before
    the transformer blocks; there, padding is hidden from attention.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is: the whole model, or its encoder alone.
    device : str
        Where to run it.
    dtype : torch.dtype
        Its precision.
    context : {"30s", "recording"}
        Whether silence fills thirty seconds, or the table of positions ends with the recording.
    """

    name = "whisper"
    cuts_by_itself = False

    def __init__(self, checkpoint, *, device, dtype, context):
        transformers = import_transformers()

        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        self.context = context
        config = transformers.WhisperConfig.from_pretrained(checkpoint.folder)
        if checkpoint.has_preprocessing:
            extractor = transformers.WhisperFeatureExtractor.from_pretrained(checkpoint.folder)
        else:  # as transformers' own default, for this network's number of bands
            extractor = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        self._settle(config, extractor)

    @classmethod
    def of(cls, config, extractor):
        """Return what knows frames and preprocessing of a network that is held elsewhere."""
        backbone = cls.__new__(cls)
        backbone.context = "recording"
        backbone._settle(config, extractor)
        return backbone

    def _settle(self, config, extractor):
        self.config, self.extractor = config, extractor
        self.sampling_rate = self.extractor.sampling_rate
        self.n_layers = self.config.encoder_layers + 1
        self.n_dims = self.config.d_model
        self.stride = 2 * self.extractor.hop_length
        self.min_samples = self.extractor.n_fft
        self.max_samples = self.config.max_source_positions * self.stride

    def n_frames(self, n_samples):
        """Count the frames of so many samples: half the frames of the spectrogram, rounded up."""
        return -(-(n_samples // self.extractor.hop_length) // 2)

    def n_samples_seen(self, n_samples):
        """Return on how many samples the network computes, silence included."""
        return self.max_samples if self.context == "30s" else n_samples

    def prepare(self, waveform):
        """Return the recording as it is: Whisper normalises its spectrogram."""
        return waveform

    @torch.inference_mode()
    def encode(self, waveforms, depth):
        """Yield the hidden states of layers 0 to `depth`, one after the other.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Each of `min_samples` to `max_samples`.
        depth : int
            The last layer to compute; the network's last is after its final norm.

        Yields
        ------
        hidden_states : Tensor of shape (n_waveforms, n_frames, n_dims)
            What follows a recording's own frames is silence or means nothing.
        """
        spectrograms = [self.spectrogram(one).to(self.device, self.dtype) for one in waveforms]
        yield from hidden_states(self._network(), spectrograms, depth)

    def spectrogram(self, waveform):
        """Return the log-mel spectrogram that the convolutions see.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32

        Returns
        -------
        spectrogram : Tensor of shape (n_bands, n_frames), float32
        """
        return self.extractor(
            waveform,
            sampling_rate=self.sampling_rate,
            padding="max_length" if self.context == "30s" else "do_not_pad",
            max_length=self.max_samples,
            return_tensors="pt",
        )["input_features"][0]

    def _network(self):
        transformers = import_transformers()

        encoder_alone = self.config.architectures in (["WhisperEncoder"], None)
        return load_network(
            self.checkpoint,
            transformers.models.whisper.modeling_whisper.WhisperEncoder
            if encoder_alone
            else transformers.WhisperModel,
            device=self.device,
            dtype=self.dtype,
            part=None if encoder_alone else "encoder",
        )


def hidden_states(encoder, spectrograms, depth, run=call_block):
    """Yield the hidden states of layers 0 to `depth` of ragged spectrograms.

    Parameters
    ----------
    encoder : torch.nn.Module
        Of transformers.
    spectrograms : list of Tensor of shape (n_bands, n_frames)
        On the device of the network.
    depth : int
        The last layer to compute; the network's last is after its final norm.
    run : callable
        Runs a block: of the block, its input and what it takes by name.

    Yields
    ------
    hidden_states : Tensor of shape (n_recordings, n_frames, n_dims)
        What follows a recording's own frames means nothing.
    """
    embedded = [_embed(encoder, spectrogram) for spectrogram in spectrograms]
    states = pad_sequence(embedded, batch_first=True)
    attention_mask = attend_to([len(frames) for frames in embedded], states.device)
    del embedded
    yield states
    for number, block in enumerate(encoder.layers[:depth], start=1):
        states = run(block, states, attention_mask=attention_mask)
        yield encoder.layer_norm(states) if number == len(encoder.layers) else states


def _embed(encoder, spectrogram):
    """Return the input of the first block, of shape (n_frames, n_dims), for one recording."""
    features = F.gelu(encoder.conv2(F.gelu(encoder.conv1(spectrogram[None]))))[0].T
    return features + encoder.embed_positions.weight[: len(features)]
