"""Low-rank adapters against linear layers with the sum of both matrices."""

import pytest
import torch
from torch import nn

from sklearn_ser.nn import LowRankLinear, add_adapters


@pytest.fixture
def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield nn.Linear(6, 5)


@pytest.mark.parametrize("bias", [False, True])
def test_the_state_is_that_of_the_sum(linear, bias):
    if not bias:
        linear.bias = None
    inputs = torch.randn(3, 6)
    adapted = LowRankLinear(linear, 2)
    assert torch.equal(adapted(inputs), linear(inputs))  # nothing is added at first
    nn.init.normal_(adapted.up)
    state = adapted.state_dict()
    assert state.keys() == linear.state_dict().keys()
    assert torch.linalg.matrix_rank(state["weight"] - linear.weight, atol=1e-5) == 2
    plain = nn.Linear(6, 5, bias=bias)
    plain.load_state_dict(state)
    torch.testing.assert_close(adapted(inputs), plain(inputs))
    again = LowRankLinear(nn.Linear(6, 5, bias=bias), 2)
    nn.init.normal_(again.up)
    again.load_state_dict(state)
    torch.testing.assert_close(again(inputs), plain(inputs))


def test_only_adapters_are_trained():
    block = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("q_proj", "k_proj", "v_proj")})
    add_adapters(block, 1)
    trained = {name for name, values in block.named_parameters() if values.requires_grad}
    assert trained == {"q_proj.down", "q_proj.up", "v_proj.down", "v_proj.up"}


def test_an_encoder_without_attention_is_refused():
    with pytest.raises(ValueError, match=r"no linear projections .* lora_rank=None"):
        add_adapters(nn.Sequential(nn.Linear(2, 2)), 1)
