"""Low-rank adapters of linear layers."""

import math

import torch
from torch import nn
from torch.nn import functional as F

# Names of the projections to queries and values in the attention of transformers' encoders.
_QUERIES_AND_VALUES = {
    *("q_proj", "v_proj"),  # wav2vec 2.0 and its family, Whisper
    *("query", "value"),  # BERT, RoBERTa
    *("query_proj", "value_proj"),  # DeBERTa
    *("q_lin", "v_lin"),  # DistilBERT
    *("q", "v"),  # MPNet
}


class LowRankLinear(nn.Linear):
    """A linear layer that is trained by adding a matrix of low rank to its fixed weights [1]_.

    Its `state_dict` is that of a linear layer whose weights are the sum. Loading one resets the
    added matrix to zero.

    Parameters
    ----------
    linear : Linear
        Layer whose weights are shared.
    rank : int
        Rank of the added matrix. It is zero at first.

    References
    ----------
    .. [1] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
       arXiv 2106.09685.
    """

    def __init__(self, linear, rank):
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.down = nn.Parameter(torch.empty(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, inputs):
        """Apply the layer."""
        return super().forward(inputs) + F.linear(F.linear(inputs, self.down), self.up)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        down, up = (destination.pop(f"{prefix}{name}") for name in ("down", "up"))
        destination[f"{prefix}weight"] = destination[f"{prefix}weight"] + up @ down

    def _load_from_state_dict(self, state_dict, prefix, *args):
        own = {f"{prefix}down": self.down.detach(), f"{prefix}up": torch.zeros_like(self.up)}
        super()._load_from_state_dict(state_dict | own, prefix, *args)


def add_adapters(network, rank):
    """Train the attention of an encoder by low-rank adapters, and nothing else of it.

    Parameters
    ----------
    network : Module
        Encoder; its projections to queries and values are replaced.
    rank : int
        Rank of the adapters.

    Raises
    ------
    ValueError
        If it has no such layers.
    """
    network.requires_grad_(False)
    found = [
        (module, name, layer)
        for module in network.modules()
        for name, layer in module.named_children()
        if name in _QUERIES_AND_VALUES and isinstance(layer, nn.Linear)
    ]
    if not found:
        raise ValueError(
            "The encoder has no linear projections to queries and values for the adapters of "
            "lora_rank: choose another model, or lora_rank=None."
        )
    for module, name, layer in found:
        setattr(module, name, LowRankLinear(layer, rank))
