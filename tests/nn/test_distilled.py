"""The network of DistilledRegressor, on encoders that are as small as can be."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from sklearn_ser.nn import DistilledNetwork, LayerPredictor, VectorRegressor
from sklearn_ser.nn.pooling import AttentiveStatistics, average_frames


class Frames(nn.Module):
    """Takes features as hidden states."""

    def __init__(self, n_dims):
        super().__init__()
        self.n_dims = n_dims
        self.linear = nn.Linear(n_dims, n_dims)

    def forward(self, features, lengths):
        pieces = [self.linear(piece) for piece in features.split(lengths)]
        padded = pad_sequence([p if len(p) else torch.zeros(1, self.n_dims) for p in pieces], True)
        return padded + 0, lengths


class Tokens(Frames):
    """Looks tokens up."""

    def __init__(self, n_dims):
        super().__init__(n_dims)
        self.words = nn.Embedding(10, n_dims)

    def forward(self, token_ids, n_tokens):
        return super().forward(self.words(token_ids), n_tokens)


def make(**settings):
    torch.manual_seed(0)
    return DistilledNetwork(Frames(8), Tokens(6), 2, hidden_size=16, **settings).eval()


def batch(rows=(0, 1, 2)):
    generator = torch.Generator().manual_seed(1)
    features = [torch.randn(n, 8, generator=generator) for n in (3, 7, 1)]
    tokens = [torch.tensor([1, 2, 3, 4]), torch.tensor([], dtype=torch.long), torch.tensor([5])]
    return {
        "features": torch.cat([features[row] for row in rows]),
        "lengths": torch.tensor([len(features[row]) for row in rows]),
        "token_ids": torch.cat([tokens[row] for row in rows]),
        "n_tokens": torch.tensor([len(tokens[row]) for row in rows]),
    }


SETTINGS = [
    {"pooling": pooling, "fusion": fusion}
    for pooling in ("mean", "attentive_statistics")
    for fusion in ("concat", "cross_attention")
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: " ".join(s.values()))
def test_a_recording_is_the_same_alone_and_in_any_batch(settings):
    network = make(**settings)
    together = network(**batch())
    assert together.shape == (3, 2)
    torch.testing.assert_close(network(**batch((2, 0, 1))), together[[2, 0, 1]])
    for row in range(3):
        torch.testing.assert_close(network(**batch((row,))), together[[row]])


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_a_missing_transcript_is_the_learned_vector(fusion):
    network = make(fusion=fusion)
    before = network(**batch())
    network.regressor.no_text.data += 1
    changed = (network(**batch()) != before).all(dim=1)
    assert changed.tolist() == [False, True, False]


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_transcripts_are_hidden_in_training_alone(fusion):
    network = make(fusion=fusion, dropout=0.0, text_dropout=0.999999)
    missing = batch() | {
        "token_ids": torch.zeros(0, dtype=torch.long),
        "n_tokens": torch.zeros(3).long(),
    }
    expected = network(**missing)
    assert not torch.allclose(network(**batch()), expected)
    torch.testing.assert_close(network.train()(**batch()), expected)


def test_text_changes_what_is_heard_by_cross_attention():
    network = make(fusion="cross_attention")
    gradient = torch.autograd.grad(network(**batch())[0].sum(), network.attention.out_proj.weight)
    assert gradient[0].abs().max() > 0


def test_heads_of_a_teacher_are_no_state():
    network = make()
    names = set(network.state_dict())
    network.learn_layers(5, 2)
    assert set(network.state_dict()) == names
    assert len(network.heads) == 2
    network.load_state_dict(make().state_dict())
    teacher = {"teacher": torch.randn(11, 2, 5), "n_teacher_frames": torch.tensor([3, 7, 1])}
    outputs = network(**batch(), **teacher)
    torch.testing.assert_close(outputs[:, :2], network(**batch()))
    alone = LayerPredictor(network.audio, 5, 2)
    alone.heads = network.heads
    given = {name: batch()[name] for name in ("features", "lengths")}
    torch.testing.assert_close(outputs[:, 2:], alone(**given, **teacher))


def test_a_frame_that_either_lacks_is_left_out():
    torch.manual_seed(0)
    predictor = LayerPredictor(Frames(8), 5, 1)
    given = {name: batch()[name] for name in ("features", "lengths")}
    teacher = torch.randn(10, 1, 5)
    losses = predictor(**given, teacher=teacher, n_teacher_frames=torch.tensor([3, 6, 1]))
    longer = torch.cat([teacher[:9], torch.full((1, 1, 5), 1e3), teacher[9:]])
    others = predictor(**given, teacher=longer, n_teacher_frames=torch.tensor([3, 7, 1]))
    assert losses[1] < others[1]
    torch.testing.assert_close(losses[[0, 2]], others[[0, 2]])


def test_pooling_sees_a_recordings_own_frames():
    frames = torch.randn(2, 5, 4)
    pooled = average_frames(frames, [5, 2])
    torch.testing.assert_close(pooled, torch.stack([frames[0].mean(0), frames[1, :2].mean(0)]))
    assert not average_frames(frames, [0, 2])[0].any()
    attentive = AttentiveStatistics(4)
    for parameter in attentive.score[-1].parameters():
        parameter.data.zero_()  # all frames weigh the same
    mean, deviation = attentive(frames, [5, 2]).split(4, dim=1)
    torch.testing.assert_close(mean, pooled)
    torch.testing.assert_close(deviation[1], frames[1, :2].std(0, correction=0))
    frames[1, 2:] = torch.nan
    assert torch.isfinite(AttentiveStatistics(4)(frames, [5, 2])).all()


def test_a_single_frame_has_a_gradient():
    frames = torch.randn(1, 1, 4, requires_grad=True)
    AttentiveStatistics(4)(frames, [1]).sum().backward()
    assert torch.isfinite(frames.grad).all()


def test_vectors_alone():
    regressor = VectorRegressor(4, None, 3, hidden_size=8).eval()
    assert regressor(torch.randn(5, 4)).shape == (5, 3)
    regressor = VectorRegressor(4, 2, 3, hidden_size=8).eval()
    audio, text, has_text = torch.randn(2, 4), torch.randn(2, 2), torch.tensor([True, False])
    outputs = regressor(audio, text, has_text)
    torch.testing.assert_close(regressor(audio, text + 1, has_text)[1], outputs[1])
    assert not torch.allclose(regressor(audio, text + 1, has_text)[0], outputs[0])
