"""Padding masks, and fused attention for WavLM's gated relative position bias."""

from types import MethodType

import torch
from torch.nn import functional as F


def padding_mask(n_frames, device):
    """Return the padding mask of a batch.

    Parameters
    ----------
    n_frames : list of int
        Number of frames of each recording.
    device : str
        Device of the mask.

    Returns
    -------
    mask : Tensor of bool, shape (n_recordings, 1, 1, max(n_frames)), or None
        True for frames to attend to, False for padding. None if there is no padding.
    """
    if min(n_frames) == max(n_frames):
        return None
    frames = torch.arange(max(n_frames), device=device)
    return (frames < torch.tensor(n_frames, device=device)[:, None])[:, None, None]


def call_block(block, hidden_states, **settings):
    """Run a transformer block."""
    return block(hidden_states, **settings)


def use_sdpa_in_wavlm(network):
    """Use PyTorch's fused attention in WavLM's blocks, which transformers does not support.

    Parameters
    ----------
    network : transformers.WavLMModel
        Modified in place. A second call has no effect.
    """
    for block in network.encoder.layers:
        block.attention.forward = MethodType(_attend, block.attention)


def _attend(self, hidden_states, attention_mask=None, position_bias=None, index=0):
    """Compute the output of transformers' ``WavLMAttention`` with the mask of `padding_mask`.

    The relative position bias, of shape (n_heads, n_frames, n_frames), is scaled by a gate that
    is computed from the features of each frame (eq. 3 to 5 of the WavLM paper). It is passed to
    fused attention as an additive mask, with minus infinity for padding.
    """
    n_recordings, n_frames, _ = hidden_states.shape
    by_head = (n_recordings, n_frames, self.num_heads, self.head_dim)
    gates = self.gru_rel_pos_linear(hidden_states.view(by_head).transpose(1, 2))
    gates = gates.view(n_recordings, self.num_heads, n_frames, 2, 4).sum(-1)
    gate_a, gate_b = torch.sigmoid(gates).chunk(2, dim=-1)
    bias = (gate_a * (gate_b * self.gru_rel_pos_const - 1.0) + 2.0) * position_bias
    if attention_mask is not None:
        bias.masked_fill_(~attention_mask, -torch.inf)
    query, key, value = (
        project(hidden_states).view(by_head).transpose(1, 2)
        for project in (self.q_proj, self.k_proj, self.v_proj)
    )
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, dropout_p=self.dropout if self.training else 0.0
    )
    attended = attended.transpose(1, 2).reshape(n_recordings, n_frames, self.embed_dim)
    return self.out_proj(attended), None, position_bias
