"""Transformer blocks on packed batches: the frames of all recordings in a row, without padding."""

from functools import partial
from types import MethodType

import numpy as np
import torch
from torch.nn import functional as F


class Packing:
    """Where the frames of each recording are in a packed batch: one recording after the other.

    Parameters
    ----------
    n_frames : list of int
        Number of frames of each recording.
    device : str
        Device of the batch.
    pad : bool, default=None
        Whether to compute the attention of all recordings at once, with padding that is masked. If
        None, it is done on GPUs, where many small operations take longer than the padding.
    """

    def __init__(self, n_frames, device, *, pad=None):
        ends = np.cumsum(n_frames).tolist()
        self._slices = [slice(end - n, end) for n, end in zip(n_frames, ends, strict=True)]
        self._mask: torch.Tensor | None = None
        pad = torch.device(device).type != "cpu" if pad is None else pad
        if pad and len(n_frames) > 1:
            mask = torch.arange(max(n_frames)) < torch.tensor(n_frames)[:, None]
            self._shape = mask.shape
            self._places = mask.flatten().nonzero()[:, 0].to(device)
            self._mask = mask[:, None, None].to(device)

    def attend(self, query, key, value, bias=None, dropout=0.0):
        """Compute scaled dot-product attention among the frames of each recording.

        Parameters
        ----------
        query, key, value : Tensor of shape (n_frames, n_heads, head_dim)
            Of the packed batch.
        bias : callable, default=None
            Returns the additive bias of the attention of one or more recordings, of shape (...,
            n_heads, n_frames, n_frames), given a function that extracts them.
        dropout : float, default=0.0
            Dropout rate of the attention weights.

        Returns
        -------
        attended : Tensor of shape (n_frames, n_heads, head_dim)
        """
        attend = partial(_attend, query, key, value, bias, dropout)
        if self._mask is None:
            pieces = [attend(lambda frames, own=own: frames[None, own])[0] for own in self._slices]
            return torch.cat(pieces)
        return attend(self._pad, self._mask).flatten(0, 1)[self._places]

    def _pad(self, frames):
        """Return the frames, of shape (n_frames, ...), as (n_recordings, n_frames, ...)."""
        padded = frames.new_zeros((self._shape.numel(), *frames.shape[1:]))
        return padded.index_copy(0, self._places, frames).unflatten(0, self._shape)


def _attend(query, key, value, bias, dropout, extract, mask=None):
    """Attend among the frames that a function extracts, of shape (n_recordings, n_frames, ...)."""
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
        is_gated = hasattr(attention, "gru_rel_pos_linear")
        forward = _forward_wavlm if is_gated else _forward
        attention.forward = MethodType(forward, attention)


def _forward(self, hidden_states, attention_mask):
    """Compute the output of transformers' attention modules for a packed batch."""
    return _project_and_attend(self, hidden_states, attention_mask), None


def _forward_wavlm(self, hidden_states, attention_mask, position_bias, index=0):
    """Compute the output of transformers' ``WavLMAttention`` for a packed batch.

    The relative position bias, of shape (n_heads, n_frames, n_frames), is scaled by a gate that
    is computed from the features of each frame (eq. 3 to 5 of the WavLM paper). It is passed to
    fused attention as an additive mask.
    """
    by_head = hidden_states[0].unflatten(-1, (self.num_heads, self.head_dim))
    gates = self.gru_rel_pos_linear(by_head).unflatten(-1, (2, 4)).sum(-1)
    gate_a, gate_b = torch.sigmoid(gates).unbind(-1)
    gate = gate_a * (gate_b * self.gru_rel_pos_const.view(-1) - 1.0) + 2.0

    def bias(extract):
        own = extract(gate).transpose(1, 2)
        n_frames = own.shape[2]
        return own[..., None] * position_bias[:, :n_frames, :n_frames]

    return _project_and_attend(self, hidden_states, attention_mask, bias), None, position_bias


def _project_and_attend(self, hidden_states, packing, bias=None):
    query, key, value = (
        project(hidden_states[0]).unflatten(-1, (self.num_heads, self.head_dim))
        for project in (self.q_proj, self.k_proj, self.v_proj)
    )
    dropout = self.dropout if self.training else 0.0
    attended = packing.attend(query, key, value, bias, dropout)
    return self.out_proj(attended.flatten(1))[None]
