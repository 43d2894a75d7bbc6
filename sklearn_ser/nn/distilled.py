"""Network of speech and text that is trained end to end, its head, and heads for distillation."""

import math

import torch
from torch import nn

from .losses import distillation_loss
from .pooling import AttentiveStatistics, average_frames

FRAME_POOLINGS = ("mean", "attentive_statistics")
TEXT_FUSIONS = ("concat", "cross_attention")
# Maximum number of attention heads of "cross_attention".
_MAX_HEADS = 4
# A standard deviation below this fraction of the largest value is that of rounding.
_ROUNDING = 1e-5


class Standardization(nn.Module):
    """Subtract the mean and divide by the standard deviation of the training set.

    Embeddings of a pretrained encoder have a large common mean; without it, recordings differ
    little.

    Parameters
    ----------
    n_dims : int or tuple of int
        Shape of a vector.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_dims):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_dims))
        self.register_buffer("scale", torch.ones(n_dims))
        self._sums = None

    def partial_fit(self, vectors):
        """Update the mean and the standard deviation with further vectors.

        Parameters
        ----------
        vectors : Tensor of shape (n_vectors, *n_dims)
            Vectors. Dimensions that are constant are not scaled.
        """
        if not len(vectors):
            return
        vectors = vectors.detach().double()
        n, mean = len(vectors), vectors.mean(0)
        squares, largest = ((vectors - mean) ** 2).sum(0), vectors.abs().amax(0)
        if self._sums is not None:  # Chan et al. (1979)
            n_before, mean_before, squares_before, largest_before = self._sums
            difference, n_new, n = mean - mean_before, n, n + n_before
            mean = mean_before + difference * n_new / n
            squares += squares_before + difference**2 * n_before * n_new / n
            largest = torch.maximum(largest, largest_before)
        self._sums = n, mean, squares, largest
        scale = (squares / n).sqrt()
        # New tensors, as the graph of the batch may hold the old ones.
        self.mean = mean.to(self.mean)
        self.scale = scale.masked_fill(scale <= _ROUNDING * largest, 1).to(self.scale)

    def forward(self, vectors):
        """Standardise vectors."""
        return (vectors - self.mean) / self.scale


def make_head(n_features, hidden_size, n_outputs, *, dropout):
    """Return a multilayer perceptron with one hidden layer, layer norm and dropout.

    Parameters
    ----------
    n_features, hidden_size, n_outputs : int
        Numbers of inputs, hidden units and outputs.
    dropout : float
        Dropout rate before and after the hidden layer.

    Returns
    -------
    head : Sequential
    """
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(n_features, hidden_size),
        nn.LayerNorm(hidden_size),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_size, n_outputs),
    )


class PredictionHead(nn.Module):
    """Standardisation and a multilayer perceptron on vectors of speech, and of text.

    Parameters
    ----------
    n_audio : int
        Size of a vector of speech.
    n_text : int or None
        Size of a vector of text. If None, there is no text.
    n_outputs : int
        Number of outputs.
    hidden_size : int, default=1024
        Width of the hidden layer.
    dropout : float, default=0.5
        Dropout rate before and after the hidden layer.
    text_dropout : float, default=0.1
        Fraction of the texts that are treated as missing in training, so that the vector of a
        missing text is learned.

    Attributes
    ----------
    n_to_fit : int
        Number of batches that the standardisation is still to be fitted on, as they pass in
        training. Initially 0.
    """

    def __init__(
        self, n_audio, n_text, n_outputs, *, hidden_size=1024, dropout=0.5, text_dropout=0.1
    ):
        super().__init__()
        self.text_dropout = text_dropout
        self.has_text = n_text is not None
        self.n_to_fit = 0
        self.audio_scaler = Standardization(n_audio)
        self.text_scaler = Standardization(n_text or 0)
        # Standardised vector of a missing text; initially the mean of the others.
        self.no_text = nn.Parameter(torch.zeros(n_text or 0))
        self.layers = make_head(n_audio + (n_text or 0), hidden_size, n_outputs, dropout=dropout)

    def forward(self, audio, text=None, has_text=None):
        """Compute the outputs.

        Parameters
        ----------
        audio : Tensor of shape (n_recordings, n_audio)
            Vectors of speech.
        text : Tensor of shape (n_recordings, n_text), default=None
            Vectors of text.
        has_text : Tensor of bool, shape (n_recordings,), default=None
            Whether there is a text.

        Returns
        -------
        outputs : Tensor of shape (n_recordings, n_outputs)
        """
        if self.training and self.n_to_fit > 0:
            self.n_to_fit -= 1
            self.fit_scalers(audio, text, has_text)
        vectors = self.audio_scaler(audio)
        if self.has_text:
            text = torch.where(has_text[:, None], self.text_scaler(text), self.no_text)
            vectors = torch.cat([vectors, text], dim=1)
        return self.layers(vectors)

    def fit_scalers(self, audio, text=None, has_text=None):
        """Update the means and standard deviations with a batch, as for `forward`."""
        self.audio_scaler.partial_fit(audio)
        if self.has_text:
            self.text_scaler.partial_fit(text[has_text])

    @property
    def missing(self):
        """The vector of a missing text, before standardisation."""
        return self.text_scaler.mean + self.text_scaler.scale * self.no_text

    def drop_texts(self, has_text):
        """Return `has_text` with some texts dropped in training."""
        if not self.training or not self.text_dropout:
            return has_text
        return has_text & (torch.rand(has_text.shape, device=has_text.device) >= self.text_dropout)


class DistilledNetwork(nn.Module):
    """Encoders of speech and of text, pooled, fused, and a head.

    Parameters
    ----------
    audio : Module
        Takes the features of recordings, concatenated, and a list of their lengths; returns the
        hidden states of each, of shape (n_frames, n_dims). Has the attribute `n_dims`.
    text : Module or None
        The same for tokens.
    n_outputs : int
        Number of outputs.
    pooling : {"mean", "attentive_statistics"}, default="mean"
        Pooling over frames.
    fusion : {"concat", "cross_attention"}, default="concat"
        With "cross_attention", each frame attends to the tokens before pooling.
    **head : dict
        Parameters of `PredictionHead`.
    """

    def __init__(self, audio, text, n_outputs, *, pooling="mean", fusion="concat", **head):
        super().__init__()
        self.audio, self.text = audio, text
        self.attentive = AttentiveStatistics(audio.n_dims) if pooling != "mean" else None
        n_audio = audio.n_dims * (1 if pooling == "mean" else 2)
        n_text = None if text is None else text.n_dims
        self.attention: nn.MultiheadAttention | None = None
        self.norm: nn.Module = nn.Identity()
        if text is not None and fusion == "cross_attention":
            n_heads = math.gcd(_MAX_HEADS, audio.n_dims)
            self.attention = nn.MultiheadAttention(
                audio.n_dims, n_heads, kdim=n_text, vdim=n_text, batch_first=True
            )
            self.norm = nn.LayerNorm(audio.n_dims)
        self.head = PredictionHead(n_audio, n_text, n_outputs, **head)

    def forward(self, features, lengths, token_ids=None, n_tokens=None):
        """Compute the outputs.

        Parameters
        ----------
        features : Tensor of shape (sum of lengths, ...)
            Waveforms or spectrograms, concatenated.
        lengths : Tensor of int, shape (n_recordings,)
            Number of samples or frames of each.
        token_ids : Tensor of int, shape (sum of n_tokens,), default=None
            Transcripts, concatenated.
        n_tokens : Tensor of int, shape (n_recordings,), default=None
            Number of tokens of each transcript; 0 if it is missing.

        Returns
        -------
        outputs : Tensor of shape (n_recordings, n_outputs)
        """
        pool = self.attentive or average_frames
        frames = self.audio(features, lengths.tolist())
        if self.text is None:
            return self.head(pool(frames))
        has_text = self.head.drop_texts(n_tokens > 0)
        tokens = self.text(token_ids, n_tokens.tolist())
        if self.attention is not None:
            frames = self._attend(self.attention, frames, tokens, has_text.tolist())
        return self.head(pool(frames), average_frames(tokens), has_text)

    def _attend(self, attention, frames, tokens, has_text):
        """Attend from each frame to the tokens, or to the vector of a missing text."""
        missing = self.head.missing[None].to(frames[0].dtype)
        attended = []
        for own, text, is_known in zip(frames, tokens, has_text, strict=True):
            keys = text if is_known else missing
            attended.append(self.norm(own + attention(own, keys, keys, need_weights=False)[0]))
        return attended


class LayerPredictor(nn.Module):
    """A student encoder with heads that predict layers of a teacher; returns the loss.

    Parameters
    ----------
    audio : Module
        The student, as for `DistilledNetwork`.
    n_teacher_dims : int
        Size of the teacher's hidden states.
    n_layers : int
        Number of layers to predict.
    """

    def __init__(self, audio, n_teacher_dims, n_layers):
        super().__init__()
        self.audio = audio
        n_dims = audio.n_dims
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(n_dims, n_dims), nn.GELU(), nn.Linear(n_dims, n_teacher_dims))
            for _ in range(n_layers)
        )

    def forward(self, features, lengths, teacher, n_teacher_frames):
        """Compute the distillation loss of each recording.

        Parameters
        ----------
        features, lengths
            As for `DistilledNetwork`.
        teacher : Tensor of shape (sum of n_teacher_frames, n_layers, n_teacher_dims)
            Layers of the teacher, concatenated over recordings.
        n_teacher_frames : Tensor of int, shape (n_recordings,)
            Number of frames of each recording.

        Returns
        -------
        losses : Tensor of shape (n_recordings, 1)
            Mean over the layers and the frames that both networks have.
        """
        frames = self.audio(features, lengths.tolist())
        packed = torch.cat(list(frames))
        predictions = torch.stack([head(packed) for head in self.heads], dim=1)
        n_frames = [len(own) for own in frames]
        losses = []
        for predicted, layers in zip(
            predictions.split(n_frames), teacher.split(n_teacher_frames.tolist()), strict=True
        ):
            n = min(len(layers), len(predicted))  # either network may drop the last frame
            losses.append(distillation_loss(predicted[:n].float(), layers[:n].float()).mean())
        return torch.stack(losses)[:, None]
