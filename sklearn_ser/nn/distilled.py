"""Small encoders of speech and text, pooled, joined, and a head of regression upon them."""

import torch
from torch import nn

from .losses import distillation_loss
from .pooling import AttentiveStatistics, average_frames

FRAME_POOLINGS = ("mean", "attentive_statistics")
TEXT_FUSIONS = ("concat", "cross_attention")
# Heads of the attention from frames to tokens.
_N_HEADS = 4
# What differs by no more than this share of its size is constant but for rounding.
_ROUNDING = 1e-5


class Standardization(nn.Module):
    """Subtracts a mean and divides by a deviation, both found once, before training.

    Of pretrained encoders all vectors have most in common, and what tells recordings apart is small
    beside it.

    Parameters
    ----------
    n_dims : int or tuple of int
        Shape of a vector.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, n_dims):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_dims))
        self.register_buffer("deviation", torch.ones(n_dims))

    def learn(self, vectors):
        """Find both from vectors, one in a row; what is constant is not divided."""
        if len(vectors):
            deviation, mean = torch.std_mean(vectors.float(), dim=0, correction=0)
            is_constant = deviation <= _ROUNDING * vectors.abs().amax(0)
            self.mean.copy_(mean)
            self.deviation.copy_(deviation.masked_fill(is_constant, 1))

    def forward(self, vectors):
        """Standardize vectors, one in a row."""
        return (vectors - self.mean) / self.deviation


class VectorRegressor(nn.Module):
    """A head upon vectors of speech and of text: what is trained where the encoders are not.

    Parameters
    ----------
    n_audio : int
        Size of a recording's vector.
    n_text : int or None
        Size of a transcript's vector; None where there are none.
    n_targets : int
    hidden_size : int, default=1024
        Width of the hidden layer.
    dropout : float, default=0.5
        Share of numbers dropped in training, before and after the hidden layer.
    text_dropout : float, default=0.1
        Share of transcripts that count as missing in training, so that what stands for a missing
        one is learned.
    """

    def __init__(
        self, n_audio, n_text, n_targets, *, hidden_size=1024, dropout=0.5, text_dropout=0.1
    ):
        super().__init__()
        self.text_dropout = text_dropout
        self.has_text = n_text is not None
        self.of_audio = Standardization(n_audio)
        self.of_text = Standardization(n_text or 0)
        # What stands for a missing transcript; it begins as the mean of those there are.
        self.no_text = nn.Parameter(torch.zeros(n_text or 0))
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(n_audio + (n_text or 0), hidden_size),
            nn.LayerNorm(hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, n_targets),
        )

    def forward(self, audio, text=None, has_text=None):
        """Predict the targets.

        Parameters
        ----------
        audio : Tensor of shape (n_recordings, n_audio)
        text : Tensor of shape (n_recordings, n_text)
        has_text : Tensor of bool, shape (n_recordings,)

        Returns
        -------
        outputs : Tensor of shape (n_recordings, n_targets)
        """
        return self.regress(audio, text, self.hide_texts(has_text))

    def regress(self, audio, text=None, has_text=None):
        """Do the same with the transcripts that there are, in training as well."""
        vectors = self.of_audio(audio)
        if self.has_text:
            text = torch.where(has_text[:, None], self.of_text(text), self.no_text)
            vectors = torch.cat([vectors, text], dim=1)
        return self.layers(vectors)

    @property
    def missing(self):
        """What stands for a missing transcript, among vectors that are not standardized."""
        return self.of_text.mean + self.of_text.deviation * self.no_text

    def standardize(self, audio, text=None, has_text=None):
        """Learn the means and deviations of the vectors that are to come, as for `forward`."""
        self.of_audio.learn(audio)
        if self.has_text:
            self.of_text.learn(text[has_text])

    def hide_texts(self, has_text):
        """Let some transcripts count as missing in training."""
        if has_text is None or not self.training or not self.text_dropout:
            return has_text
        return has_text & (torch.rand(has_text.shape, device=has_text.device) >= self.text_dropout)


class DistilledNetwork(nn.Module):
    """Encoders of speech and of text, and what joins them.

    Parameters
    ----------
    audio : Module
        From the features of recordings, one after the other, and a list of their lengths, to
        hidden states of shape (n_recordings, n_frames, n_dims) and the number of frames of each;
        with the attribute `n_dims`.
    text : Module or None
        The same from tokens.
    n_targets : int
    pooling : {"mean", "attentive_statistics"}, default="mean"
        Of the frames.
    fusion : {"concat", "cross_attention"}, default="concat"
        With "cross_attention" each frame attends to the tokens before it is pooled.
    **head : dict
        For `VectorRegressor`.
    """

    def __init__(self, audio, text, n_targets, *, pooling="mean", fusion="concat", **head):
        super().__init__()
        self.audio, self.text = audio, text
        self.attentive = AttentiveStatistics(audio.n_dims) if pooling != "mean" else None
        n_audio = audio.n_dims * (1 if pooling == "mean" else 2)
        n_text = None if text is None else text.n_dims
        self.attention: nn.MultiheadAttention | None = None
        self.norm: nn.Module = nn.Identity()
        if text is not None and fusion == "cross_attention":
            self.attention = nn.MultiheadAttention(
                audio.n_dims, _N_HEADS, kdim=n_text, vdim=n_text, batch_first=True
            )
            self.norm = nn.LayerNorm(audio.n_dims)
        self.regressor = VectorRegressor(n_audio, n_text, n_targets, **head)
        self.heads: nn.ModuleList | None = None

    def learn_layers(self, n_teacher_dims, n_layers):
        """Add heads that predict a teacher's layers, for training alone: they are no state."""
        self.heads = make_heads(self.audio.n_dims, n_teacher_dims, n_layers)

    def state_dict(self, *args, **kwargs):
        """Return the weights, without those of heads that are for training alone."""
        state = super().state_dict(*args, **kwargs)
        return {name: values for name, values in state.items() if not name.startswith("heads.")}

    def load_state_dict(self, state_dict, *args, **kwargs):
        """Take weights; heads that are for training alone keep theirs."""
        heads = {} if self.heads is None else self.heads.state_dict(prefix="heads.")
        return super().load_state_dict({**heads, **state_dict}, *args, **kwargs)

    def forward(
        self,
        features,
        lengths,
        token_ids=None,
        n_tokens=None,
        teacher=None,
        n_teacher_frames=None,
    ):
        """Predict the targets.

        Parameters
        ----------
        features : Tensor of shape (sum of lengths, ...)
            Waveforms or spectrograms, one after the other.
        lengths : Tensor of int, shape (n_recordings,)
        token_ids : Tensor of int, shape (sum of n_tokens,)
            Transcripts, one after the other.
        n_tokens : Tensor of int, shape (n_recordings,)
            0 where there is no transcript.
        teacher, n_teacher_frames
            As for `LayerPredictor`, where `learn_layers` was called.

        Returns
        -------
        outputs : Tensor of shape (n_recordings, n_targets)
            With a teacher's layers, one column more: what is missed of them.
        """
        frames, n_frames = self.audio(features, lengths.tolist())
        outputs = self.regressor.regress(**self._vectors(frames, n_frames, token_ids, n_tokens))
        if teacher is None:
            return outputs
        missed = miss_layers(self.heads, frames, n_frames, teacher, n_teacher_frames.tolist())
        return torch.cat([outputs, missed.to(outputs.dtype)], dim=1)

    def vectors(self, features, lengths, token_ids=None, n_tokens=None, **of_teacher):
        """Return what the head is given of a batch, by the names of its arguments."""
        frames, n_frames = self.audio(features, lengths.tolist())
        return self._vectors(frames, n_frames, token_ids, n_tokens)

    def _vectors(self, frames, n_frames, token_ids, n_tokens):
        if self.text is None:
            return {"audio": self._pool(frames, n_frames)}
        has_text = self.regressor.hide_texts(n_tokens > 0)
        tokens, n_states = self.text(token_ids, n_tokens.tolist())
        if self.attention is not None:
            frames = self.norm(
                frames + self._attend(self.attention, frames, tokens, n_states, has_text)
            )
        text = average_frames(tokens, n_states)
        return {"audio": self._pool(frames, n_frames), "text": text, "has_text": has_text}

    def _pool(self, frames, n_frames):
        if self.attentive is not None:
            return self.attentive(frames, n_frames)
        return average_frames(frames, n_frames)

    def _attend(self, attention, frames, tokens, n_states, has_text):
        """Return what each frame finds in the tokens, or in what stands for missing ones."""
        tokens, is_padding = tokens.clone(), hide_padding(n_states, tokens)
        tokens[~has_text, 0] = self.regressor.missing.to(tokens.dtype)
        is_padding[~has_text, 1:] = True
        is_padding[:, 0] = False
        return attention(frames, tokens, tokens, key_padding_mask=is_padding, need_weights=False)[0]


class LayerPredictor(nn.Module):
    """A student with heads that predict a teacher's layers; its output is what it misses.

    Parameters
    ----------
    audio : Module
        The student, as for `DistilledNetwork`.
    n_teacher_dims : int
        Width of the teacher's layers.
    n_layers : int
        How many of them are predicted.
    """

    def __init__(self, audio, n_teacher_dims, n_layers):
        super().__init__()
        self.audio = audio
        self.heads = make_heads(audio.n_dims, n_teacher_dims, n_layers)

    def forward(self, features, lengths, teacher, n_teacher_frames):
        """Compute the loss of each recording.

        Parameters
        ----------
        features, lengths
            As for `DistilledNetwork`.
        teacher : Tensor of shape (sum of n_teacher_frames, n_layers, n_teacher_dims)
            The teacher's layers, recordings one after the other.
        n_teacher_frames : Tensor of int, shape (n_recordings,)

        Returns
        -------
        losses : Tensor of shape (n_recordings, 1)
        """
        frames, n_frames = self.audio(features, lengths.tolist())
        return miss_layers(self.heads, frames, n_frames, teacher, n_teacher_frames.tolist())


def make_heads(n_dims, n_teacher_dims, n_layers):
    """Return a head for each layer of a teacher, to predict it from a student's last."""
    return nn.ModuleList(
        nn.Sequential(nn.Linear(n_dims, n_dims), nn.GELU(), nn.Linear(n_dims, n_teacher_dims))
        for _ in range(n_layers)
    )


def miss_layers(heads, frames, n_frames, teacher, n_teacher_frames):
    """Compute what heads miss of a teacher's layers.

    Parameters
    ----------
    heads : ModuleList
        One for each layer.
    frames : Tensor of shape (n_recordings, n_frames, n_dims)
        Of the student.
    n_frames : list of int
        How many are a recording's own.
    teacher : Tensor of shape (sum of n_teacher_frames, n_layers, n_teacher_dims)
    n_teacher_frames : list of int

    Returns
    -------
    losses : Tensor of shape (n_recordings, 1)
    """
    predictions = [head(frames) for head in heads]
    losses = []
    for row, layers in enumerate(teacher.split(n_teacher_frames)):
        n_both = min(len(layers), n_frames[row])  # the last frame may be cut off by either
        of_layers = [
            distillation_loss(predicted[row, :n_both].float(), layer.float()).mean()
            for predicted, layer in zip(predictions, layers[:n_both].unbind(1), strict=True)
        ]
        losses.append(torch.stack(of_layers).mean())
    return torch.stack(losses)[:, None]


def hide_padding(n_frames, frames):
    """Return where there are no frames of the recording's own, (n_recordings, n_frames)."""
    numbers = torch.arange(frames.shape[1], device=frames.device)
    return numbers >= torch.tensor(n_frames, device=frames.device)[:, None]
