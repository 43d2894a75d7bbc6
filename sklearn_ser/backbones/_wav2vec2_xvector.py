"""Speaker encoders of the wav2vec 2.0 family, such as transformers' WavLMForXVector."""

import torch

from ._wav2vec2 import Wav2Vec2Backbone


class Wav2Vec2XVectorBackbone(Wav2Vec2Backbone):
    """A frozen network of the wav2vec 2.0 family with an x-vector head.

    The hidden states are those of `Wav2Vec2Backbone`. The head is applied to the frames of one
    recording at a time.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    """

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.class_name = self.class_name.removesuffix("Model") + "ForXVector"
        self.name += "sv"
        self.n_layers = 1
        self.n_dims = self.config.xvector_output_dim
        # Frames in the receptive field of the TDNN. The standard deviation needs two TDNN frames.
        n_surrounding = sum(
            (kernel - 1) * dilation
            for kernel, dilation in zip(
                self.config.tdnn_kernel, self.config.tdnn_dilation, strict=True
            )
        )
        self.min_samples += (n_surrounding + 1) * self.stride
        self.stride = None

    def n_frames(self, n_samples):
        """Return 1, the number of embeddings of a recording."""
        return 1

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings as a single layer.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms returned by `prepare`, each with at least `min_samples`.
        last_layer : int
            Ignored.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            Output ``embeddings`` of transformers.
        """
        network = self._network()
        frames = self._sum_layers(network, waveforms)
        yield torch.stack([self._embed_frames(network, own) for own in frames])

    def _embed_frames(self, network, frames):
        """Return the embedding of one recording's frames, of shape (1, n_dims)."""
        frames = network.projector(frames)[None]
        for layer in network.tdnn:
            frames = layer(frames)
        std, mean = torch.std_mean(frames.float(), dim=1)
        return network.feature_extractor(torch.cat([mean, std], dim=1).to(self.dtype))

    def _sum_layers(self, network, waveforms):
        """Return the last layer of each waveform, or the weighted sum if the network uses it."""
        last_layer = self.config.num_hidden_layers
        if not self.config.use_weighted_layer_sum:
            *_, last = self.encode_layers(waveforms, last_layer)
            return last
        # The sum uses the last layer before the encoder's final norm, if there is one.
        layers = self.encode_layers(waveforms, last_layer, final_norm=False)
        weights = network.layer_weights.softmax(dim=-1)
        sums = None
        for weight, layer in zip(weights, layers, strict=True):
            weighted = [weight * own for own in layer]
            sums = weighted if sums is None else list(map(torch.add, sums, weighted))
        return sums
