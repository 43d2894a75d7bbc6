"""Speaker embeddings upon the wav2vec 2.0 family: transformers' WavLMForXVector and its kin."""

import torch

from ._wav2vec2 import Wav2Vec2Backbone, hidden_states


class Wav2Vec2XVectorBackbone(Wav2Vec2Backbone):
    """A frozen network of the wav2vec 2.0 family with an x-vector head.

    The hidden states are those of `Wav2Vec2Backbone`, exact for each recording; the head sees
    the frames of one recording at a time.

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
        n_surrounding = sum(
            (kernel - 1) * dilation
            for kernel, dilation in zip(
                self.config.tdnn_kernel, self.config.tdnn_dilation, strict=True
            )
        )
        self.min_samples += (n_surrounding + 1) * self.stride
        self.stride = None

    def n_frames(self, n_samples):
        """Count the vectors of a recording: one."""
        return 1

    def _n_hidden_frames(self, n_samples):
        return super().n_frames(n_samples)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings, as the one layer there is.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Prepared, each of at least `min_samples`.
        last_layer : int
            Of no consequence.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            What transformers calls ``embeddings``.
        """
        network = self._network()
        frames = self._sum_layers(network, waveforms)
        n_frames = [self._n_hidden_frames(len(waveform)) for waveform in waveforms]
        vectors = [
            self._embed_frames(network, own[:n]) for own, n in zip(frames, n_frames, strict=True)
        ]
        yield torch.stack(vectors)

    def _embed_frames(self, network, frames):
        """Return the embedding of one recording's frames, of shape (1, n_dims)."""
        frames = network.projector(frames)[None]
        for layer in network.tdnn:
            frames = layer(frames)
        std, mean = torch.std_mean(frames.float(), dim=1)
        return network.feature_extractor(torch.cat([mean, std], dim=1).to(self.dtype))

    def _sum_layers(self, network, waveforms):
        """Return the last hidden states, or the weighted sum of all where the network has it."""
        last_layer = self.config.num_hidden_layers
        if not self.config.use_weighted_layer_sum:
            *_, last = super().encode(waveforms, last_layer)
            return last
        # In the sum, the last layer is the one before the encoder's final norm, if it has any.
        samples = self.as_tensors(waveforms)
        layers = hidden_states(network.base_model, samples, last_layer, final_norm=False)
        weights = network.layer_weights.softmax(dim=-1)
        return sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
