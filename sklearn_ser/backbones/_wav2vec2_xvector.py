"""Speaker embeddings upon the wav2vec 2.0 family: transformers' WavLMForXVector and its kin."""

import torch

from ._wav2vec2 import Wav2Vec2Backbone


class Wav2Vec2XVectorBackbone(Wav2Vec2Backbone):
    """A frozen network of the wav2vec 2.0 family with an x-vector head.

    The hidden states are those of `Wav2Vec2Backbone`, exact for each recording; the head's
    convolutions look at whole frames of the recording alone, and its statistics are over these.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    dtype : torch.dtype
        Its precision.
    """

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.class_name = self.class_name.removesuffix("Model") + "ForXVector"
        self.name += "sv"
        self.n_layers = 1
        self.n_dims = self.config.xvector_output_dim
        # So many frames of the encoder go into one of the statistics, which need two at least.
        self.n_surrounding = sum(
            (kernel - 1) * dilation
            for kernel, dilation in zip(
                self.config.tdnn_kernel, self.config.tdnn_dilation, strict=True
            )
        )
        self.min_samples += (self.n_surrounding + 1) * self.stride
        self.stride = None

    def n_frames(self, n_samples):
        """Count the vectors of a recording: one."""
        return 1

    @torch.inference_mode()
    def encode(self, waveforms, depth):
        """Yield the embeddings, as the one layer there is.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Prepared, each of at least `min_samples`.
        depth : int
            Of no consequence.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            What transformers calls ``embeddings``.
        """
        network = self._network()
        frames = network.projector(self._sum_layers(network, waveforms))
        for layer in network.tdnn:
            frames = layer(frames)
        statistics = []
        for row, waveform in enumerate(waveforms):
            n_frames = super().n_frames(len(waveform)) - self.n_surrounding
            std, mean = torch.std_mean(frames[row, :n_frames].float(), dim=0)
            statistics.append(torch.cat([mean, std]))
        yield network.feature_extractor(torch.stack(statistics).to(self.dtype))[:, None]

    def _sum_layers(self, network, waveforms):
        """Return the last hidden states, or the weighted sum of all where the network has it."""
        depth = self.config.num_hidden_layers
        if not self.config.use_weighted_layer_sum:
            *_, last = super().encode(waveforms, depth)
            return last
        # In the sum, the last layer is the one before the encoder's final norm, if it has any.
        layers = self._hidden_states(network.base_model, waveforms, depth)
        weights = network.layer_weights.softmax(dim=-1)
        return sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
