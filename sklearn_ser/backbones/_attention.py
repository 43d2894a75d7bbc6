"""Transformer blocks on packed batches: the frames of all recordings in a row, without padding."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

# Maximum padding on GPUs, as a fraction of the longest recording of a group.
_PADDING = 0.2


class Packing:
    """Where the frames of each recording are in a packed batch: one recording after the other.

    Attention is computed for groups of recordings. On CPUs each recording is a group. On GPUs,
    where many small operations take longer than some padding, a group has similar lengths, and is
    padded within the attention.

    Parameters
    ----------
    n_frames : list of int
        Number of frames of each recording.
    device : str or torch.device
        Device of the batch.
    padding : float, default=None
        Maximum padding of a recording, as a fraction of the longest of its group. If None, it is
        `_PADDING` on GPUs; CPUs have no groups.
    """

    def __init__(self, n_frames, device, *, padding=None):
        if padding is None and torch.device(device).type != "cpu":
            padding = _PADDING
        self.n_frames = n_frames
        ends = np.cumsum(n_frames)
        starts = ends - n_frames
        # A function that extracts a group from a packed batch, and the mask of its padding.
        self._groups: list[tuple[Callable, torch.Tensor | None]] = []
        self._places = None
        if padding is None:
            for start, end in zip(starts, ends, strict=True):
                own = slice(start, end)
                self._groups.append((lambda frames, own=own: frames[None, own], None))
            return
        places, n_before = np.empty(ends[-1], dtype=np.int64), 0
        for rows in _group_by_length(n_frames, padding):
            n = np.asarray(n_frames)[rows, np.newaxis]
            numbers = np.arange(n.max())
            sources = starts[rows, np.newaxis] + np.minimum(numbers, n - 1)
            is_own = numbers < n
            places[sources[is_own]] = n_before + np.flatnonzero(is_own)
            n_before += sources.size
            index = torch.from_numpy(sources).to(device)
            mask = torch.from_numpy(is_own)[:, None, None].to(device)
            self._groups.append(
                (lambda frames, index=index: frames[index], None if is_own.all() else mask)
            )
        self._places = torch.from_numpy(places).to(device)

    def split(self, states):
        """Return the frames of each recording, given those of all, (1, n_frames, n_dims)."""
        return states[0].split(self.n_frames)

    def attend(self, query, key, value, bias=None, dropout=0.0):
        """Compute scaled dot-product attention among the frames of each recording.

        Parameters
        ----------
        query, key, value : Tensor of shape (n_frames, n_heads, head_dim)
            Of the packed batch.
        bias : callable, default=None
            Returns the additive bias of the attention of a group, of shape (n_recordings, n_heads,
            n_frames, n_frames), given a function that extracts the group from a packed batch.
        dropout : float, default=0.0
            Dropout rate of the attention weights.

        Returns
        -------
        attended : Tensor of shape (n_frames, n_heads, head_dim)
        """
        attended = torch.cat(
            [
                _attend(query, key, value, bias, dropout, extract, mask).flatten(0, 1)
                for extract, mask in self._groups
            ]
        )
        return attended if self._places is None else attended[self._places]


def pack(recordings):
    """Pack hidden states.

    Parameters
    ----------
    recordings : list of Tensor of shape (n_frames, n_dims)
        Hidden states of each recording.

    Returns
    -------
    states : Tensor of shape (1, n_frames, n_dims)
        Of all recordings.
    packing : Packing
    """
    states = torch.cat(recordings)[None]
    return states, Packing(list(map(len, recordings)), states.device)


def _group_by_length(n_frames, padding):
    """Return groups of recordings, each at most by a fraction shorter than the longest."""
    groups: list[list[int]] = []
    for row in np.argsort(n_frames, kind="stable")[::-1]:
        if not groups or n_frames[row] < (1 - padding) * n_frames[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return groups


def _attend(query, key, value, bias, dropout, extract, mask):
    """Attend within the recordings of a group: (n_recordings, n_frames, n_heads, head_dim)."""
    if bias is not None:
        added = bias(extract)
        mask = added if mask is None else added.masked_fill(~mask, -torch.inf)
    query, key, value = (extract(frames).transpose(1, 2) for frames in (query, key, value))
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    return attended.transpose(1, 2)


def call_block(block, hidden_states, **settings):
    """Run a transformer block."""
    return block(hidden_states, **settings)


def attend_within_recordings(blocks):
    """Let transformer blocks take a packed batch, with a `Packing` in place of the attention mask.

    Parameters
    ----------
    blocks : list of Module
        Blocks of Whisper's encoder or of the wav2vec 2.0 family; modified in place. A second call
        has no effect. The hidden states are of shape (1, n_frames, n_dims).
    """
    for block in blocks:
        attention = block.self_attn if hasattr(block, "self_attn") else block.attention
        # A method of the instance would be a cycle, which keeps the weights until it is found.
        attention.__class__ = _packed(attention.__class__)


@lru_cache
def _packed(attention_class):
    """Return the subclass of an attention module of transformers that takes a packed batch."""
    if issubclass(attention_class, _PackedAttention):
        return attention_class
    is_gated = hasattr(attention_class, "compute_bias")
    first = _PackedWavLMAttention if is_gated else _PackedPlainAttention
    return type(f"Packed{attention_class.__name__}", (first, attention_class), {})


class _PackedAttention:
    """Attention of transformers, on a packed batch of shape (1, n_frames, n_dims)."""

    num_heads: int
    head_dim: int
    dropout: float
    training: bool
    q_proj: Callable
    k_proj: Callable
    v_proj: Callable
    out_proj: Callable

    def _attend_packed(self, hidden_states, packing, bias=None):
        query, key, value = (
            project(hidden_states[0]).unflatten(-1, (self.num_heads, self.head_dim))
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        attended = packing.attend(query, key, value, bias, dropout)
        return self.out_proj(attended.flatten(1))[None]


class _PackedPlainAttention(_PackedAttention):
    """Attention of Whisper, and of the wav2vec 2.0 family but WavLM."""

    def forward(self, hidden_states, attention_mask):
        """Return the output, given a `Packing` as the mask."""
        return self._attend_packed(hidden_states, attention_mask), None


class _PackedWavLMAttention(_PackedAttention):
    """``WavLMAttention``, whose relative position bias is gated.

    The bias, of shape (n_heads, n_frames, n_frames), is scaled by a gate that is computed from the
    features of each frame (eq. 3 to 5 of the WavLM paper). It is passed to fused attention as an
    additive mask.
    """

    gru_rel_pos_linear: Callable
    gru_rel_pos_const: torch.Tensor

    def forward(self, hidden_states, attention_mask, position_bias, index=0):
        """Return the output and the bias, given a `Packing` as the mask."""
        by_head = hidden_states[0].unflatten(-1, (self.num_heads, self.head_dim))
        gates = self.gru_rel_pos_linear(by_head).unflatten(-1, (2, 4)).sum(-1)
        gate_a, gate_b = torch.sigmoid(gates).unbind(-1)
        gate = gate_a * (gate_b * self.gru_rel_pos_const.view(-1) - 1.0) + 2.0

        def bias(extract):
            own = extract(gate).transpose(1, 2)
            n_frames = own.shape[2]
            return own[..., None] * position_bias[:, :n_frames, :n_frames]

        attended = self._attend_packed(hidden_states, attention_mask, bias)
        return attended, None, position_bias
