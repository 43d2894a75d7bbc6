"""Attention of ragged batches: hidden padding, and WavLM's gated relative position bias."""

from types import MethodType

import torch
from torch.nn import functional as F


def attend_to(n_frames, device):
    """Return a mask that hides what follows each recording's own frames.

    Parameters
    ----------
    n_frames : list of int
        Frames of each recording.
    device : str
        Where the mask is needed.

    Returns
    -------
    mask : Tensor of bool, shape (n_recordings, 1, 1, max(n_frames)), or None
        True where to attend to; None where nothing is padded.
    """
    if min(n_frames) == max(n_frames):
        return None
    frames = torch.arange(max(n_frames), device=device)
    return (frames < torch.tensor(n_frames, device=device)[:, None])[:, None, None]


def call_block(block, hidden_states, **settings):
    """Run a transformer block."""
    return block(hidden_states, **settings)


def use_sdpa_in_wavlm(network):
    """Let WavLM's blocks attend by PyTorch's fused attention, which transformers has not for it.

    Parameters
    ----------
    network : transformers.WavLMModel
        Changed in place; a second call changes nothing.
    """
    for block in network.encoder.layers:
        block.attention.forward = MethodType(_attend, block.attention)


def _attend(self, hidden_states, attention_mask=None, position_bias=None, index=0):
    """Attend as transformers' ``WavLMAttention`` does, with `attend_to`'s mask.

    The relative position bias, of shape (n_heads, n_frames, n_frames), is scaled by a gate that
    each frame computes of its own features (eq. 3 to 5 of the WavLM paper), and enters fused
    attention as an additive mask, with minus infinity where there is padding.
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
