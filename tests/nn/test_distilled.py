"""The network of DistilledRegressor, on encoders that are as small as can be."""

import pytest
import torch
from torch import nn

from sklearn_ser.nn import DistilledNetwork, LayerPredictor, PredictionHead, Standardization
from sklearn_ser.nn.pooling import AttentiveStatistics, average_frames


class Frames(nn.Module):
    """Takes features as hidden states."""

    def __init__(self, n_dims):
        super().__init__()
        self.n_dims = n_dims
        self.linear = nn.Linear(n_dims, n_dims)

    def forward(self, features, lengths):
        return self.linear(features).split(lengths)


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
    network.head.no_text.data += 1
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
    frames = torch.randn(5, 4), torch.randn(2, 4)
    pooled = average_frames(frames)
    torch.testing.assert_close(pooled, torch.stack([own.mean(0) for own in frames]))
    assert not average_frames([torch.zeros(0, 4), frames[1]])[0].any()
    attentive = AttentiveStatistics(4)
    for parameter in attentive.score[-1].parameters():
        parameter.data.zero_()  # all frames weigh the same
    mean, deviation = attentive(frames).split(4, dim=1)
    torch.testing.assert_close(mean, pooled)
    torch.testing.assert_close(deviation[1], frames[1].std(0, correction=0))


def test_a_single_frame_has_a_gradient():
    frames = torch.randn(1, 1, 4, requires_grad=True)
    AttentiveStatistics(4)(frames).sum().backward()
    assert torch.isfinite(frames.grad).all()


def test_vectors_alone():
    regressor = PredictionHead(4, None, 3, hidden_size=8).eval()
    assert regressor(torch.randn(5, 4)).shape == (5, 3)
    regressor = PredictionHead(4, 2, 3, hidden_size=8).eval()
    audio, text, has_text = torch.randn(2, 4), torch.randn(2, 2), torch.tensor([True, False])
    outputs = regressor(audio, text, has_text)
    torch.testing.assert_close(regressor(audio, text + 1, has_text)[1], outputs[1])
    assert not torch.allclose(regressor(audio, text + 1, has_text)[0], outputs[0])


def test_the_head_is_standardized_by_the_first_vectors_it_is_trained_on():
    head = PredictionHead(3, 2, 1, hidden_size=8, dropout=0.0)
    head.n_to_fit = 2
    audio, text = 5 + 2 * torch.randn(30, 3), torch.randn(30, 2) - 7
    audio[:, 2] = 3.25
    has_text = torch.arange(30) % 3 > 0
    head.eval()(audio, text, has_text)  # what it only predicts is not counted
    assert head.n_to_fit == 2
    head.train()
    for rows in torch.arange(30).split(10):
        head(audio[rows], text[rows], has_text[rows])
    torch.testing.assert_close(head.audio_scaler.mean, audio[:20].mean(0))
    expected = audio[:20].std(0, correction=0)
    expected[2] = 1  # constant
    torch.testing.assert_close(head.audio_scaler.scale, expected)
    torch.testing.assert_close(head.text_scaler.mean, text[:20][has_text[:20]].mean(0))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_standardization_in_parts_is_that_of_the_whole(offset):
    vectors = offset + torch.randn(50, 4)
    whole, parts = Standardization(4), Standardization(4)
    whole.partial_fit(vectors)
    for part in vectors.split([1, 30, 0, 19]):
        parts.partial_fit(part)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.scale, whole.scale, rtol=1e-5, atol=0)
    torch.testing.assert_close(whole.scale, vectors.std(0, correction=0), rtol=1e-3, atol=0)
