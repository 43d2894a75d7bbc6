"""Batches of any lengths equal transformers' forward pass on single recordings."""

import copy
import functools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import AutoFeatureExtractor

from sklearn_ser.backbones import Packing, load_backbone
from small_networks import NETWORKS, make_network, mostly_slow, small_network

FAMILY = [name for name in NETWORKS if name != "whisper"]
TOLERANCE = 1e-5  # relative to the norm, per recording and layer, in float32
RATE = 16000


def _load(name, dtype="float32", **settings):
    family = "whisper" if name == "whisper" else "wav2vec2"
    return load_backbone(small_network(name), family=family, device="cpu", dtype=dtype, **settings)


def _noise(n_samples, seed=0):
    rng = np.random.default_rng([seed, n_samples])
    offset, scale = rng.normal(0, 0.1), rng.uniform(0.01, 0.5)  # removed by normalisation
    return (offset + scale * rng.standard_normal(n_samples)).astype(np.float32)


def _encode(backbone, waveforms, last_layer=None):
    """Return the layers of each waveform without padding, each of shape (n_frames, n_dims)."""
    prepared = [backbone.prepare(waveform) for waveform in waveforms]
    last_layer = backbone.n_layers - 1 if last_layer is None else last_layer
    layers = backbone.encode(prepared, last_layer)
    return [
        [hidden[: backbone.n_frames(len(waveform))] for hidden in own]
        for own, waveform in zip(zip(*layers, strict=True), waveforms, strict=True)
    ]


def _assert_close(actual, expected):
    assert len(actual) == len(expected)
    for own, reference in zip(actual, expected, strict=True):
        assert own.shape == reference.shape
        distance = torch.linalg.norm(own - reference) / torch.linalg.norm(reference)
        assert distance <= TOLERANCE


@functools.cache
def _transformers(name):
    return AutoFeatureExtractor.from_pretrained(small_network(name)), make_network(name)


def _forward_by_transformers(name, waveform):
    """Return the hidden states of transformers' feature extractor and network for one recording."""
    extractor, network = _transformers(name)
    inputs = extractor(waveform, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        output = network(inputs["input_values"], output_hidden_states=True)
    return [*(hidden[0] for hidden in output.hidden_states[:-1]), output.last_hidden_state[0]]


def _whisper_by_transformers(waveform, context):
    """Return the hidden states of Whisper's encoder with a truncated positional embedding."""
    extractor, network = _transformers("whisper")
    padding = "max_length" if context == "30s" else "do_not_pad"
    inputs = extractor(waveform, sampling_rate=RATE, padding=padding, return_tensors="pt")
    features = inputs["input_features"]
    encoder = copy.deepcopy(network.encoder)
    if context == "recording":
        if features.shape[-1] % 2:  # forward() checks for whole pairs of frames
            return _whisper_by_hand(encoder, features)
        n_positions = features.shape[-1] // 2
        encoder.config.max_source_positions = n_positions
        table = encoder.embed_positions.weight[:n_positions]
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(table)
    with torch.no_grad():
        output = encoder(features, output_hidden_states=True)
    n_frames = -(-(len(waveform) // 160) // 2)
    return [hidden[0, :n_frames] for hidden in output.hidden_states]


def _whisper_by_hand(encoder, features):
    with torch.no_grad():
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)
        states = [hidden + encoder.embed_positions.weight[: hidden.shape[1]]]
        for block in encoder.layers:
            states.append(block(states[-1], attention_mask=None))
        states[-1] = encoder.layer_norm(states[-1])
    return [state[0] for state in states]


lengths = st.lists(st.integers(400, 3 * RATE), min_size=1, max_size=5)
few_examples = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", mostly_slow(FAMILY))
@few_examples
@given(lengths=lengths)
def test_ragged_batch_equals_transformers_alone(name, lengths):
    waveforms = [_noise(length, seed) for seed, length in enumerate(lengths)]
    for waveform, layers in zip(waveforms, _encode(_load(name), waveforms), strict=True):
        _assert_close(layers, _forward_by_transformers(name, waveform))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm", "wavlm-large", "hubert"])
def test_batch_of_shortest_and_twenty_seconds(name):
    waveforms = [_noise(400), _noise(20 * RATE), _noise(7777)]
    for waveform, layers in zip(waveforms, _encode(_load(name), waveforms), strict=True):
        _assert_close(layers, _forward_by_transformers(name, waveform))


@pytest.mark.parametrize("context", [pytest.param("30s", marks=pytest.mark.slow), "recording"])
@few_examples
@given(lengths=lengths)
def test_whisper_equals_transformers_alone(context, lengths):
    waveforms = [_noise(length, seed) for seed, length in enumerate(lengths)]
    encoded = _encode(_load("whisper", context=context), waveforms)
    for waveform, layers in zip(waveforms, encoded, strict=True):
        _assert_close(layers, _whisper_by_transformers(waveform, context))


@pytest.mark.parametrize("n_samples", [400, 3 * 160 + 80, 5 * 160, 30 * RATE])
def test_whisper_with_an_odd_number_of_spectrum_frames_and_at_its_limits(n_samples):
    waveforms = [_noise(n_samples), _noise(8000)]
    encoded = _encode(_load("whisper"), waveforms)
    _assert_close(encoded[0], _whisper_by_transformers(waveforms[0], "recording"))


@pytest.mark.parametrize("name", mostly_slow(NETWORKS))
def test_results_do_not_depend_on_order(name):
    waveforms = [_noise(length) for length in (12345, 400, 40000, 16000)]
    backbone = _load(name)
    forward = _encode(backbone, waveforms)
    backward = _encode(backbone, waveforms[::-1])[::-1]
    for own, reference in zip(forward, backward, strict=True):
        _assert_close(own, reference)


def test_zero_padding_with_an_attention_mask_is_not_exact_in_transformers():
    """The difference must be large to justify the code that avoids it."""
    waveform = _noise(8000)
    padded = torch.from_numpy(np.pad(waveform, (0, 24000)))[None]
    mask = torch.ones(1, 32000, dtype=torch.long)
    mask[:, 8000:] = 0
    with torch.no_grad():
        batched = make_network("hubert")(padded, attention_mask=mask).last_hidden_state[0]
    alone = make_network("hubert")(torch.from_numpy(waveform)[None]).last_hidden_state[0]
    moved = torch.linalg.norm(batched[: len(alone)] - alone) / torch.linalg.norm(alone)
    assert moved > 0.01


@pytest.mark.parametrize("name", mostly_slow(NETWORKS))
@pytest.mark.parametrize("last_layer", [0, 2])
def test_blocks_beyond_the_deepest_layer_do_not_run(name, last_layer):
    backbone = _load(name)
    blocks = backbone.blocks(backbone.bare_network())
    ran = []
    hooks = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(blocks, start=1)
    ]
    try:
        _encode(backbone, [_noise(5000), _noise(9000)], last_layer=last_layer)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == list(range(1, last_layer + 1))  # each once, for the whole batch


def test_wavlm_uses_fused_attention_within_each_recording(monkeypatch):
    """The network of transformers computes attention weights instead, on padded recordings."""
    calls = []
    fused = F.scaled_dot_product_attention

    def count(*args, **kwargs):
        calls.append(kwargs["attn_mask"].shape)
        return fused(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    monkeypatch.setattr(F, "multi_head_attention_forward", None)
    backbone = _load("wavlm")
    _encode(backbone, [_noise(5000), _noise(9000)])
    n_frames = backbone.n_frames(5000), backbone.n_frames(9000)
    assert calls == [(1, 2, n, n) for n in n_frames] * 3


@pytest.mark.parametrize("name", mostly_slow(NETWORKS))
def test_no_frame_is_padding(name):
    """The linear layers of a batch see the frames of each recording, and no others."""
    backbone = _load(name)
    waveforms = [_noise(length) for length in (400, 9000, 30000)]
    rows = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][..., 0].numel()))
        for module in backbone.blocks(backbone.bare_network()).modules()
        if isinstance(module, torch.nn.Linear) and "rel_pos" not in str(module)
    ]
    try:
        _encode(backbone, waveforms)
    finally:
        for hook in hooks:
            hook.remove()
    n_frames = sum(backbone.n_frames(len(waveform)) for waveform in waveforms)
    assert set(rows) - {2 * n_frames} == {n_frames}


@pytest.mark.parametrize("name", ["wavlm", "hubert", "whisper"])
def test_attention_in_groups_of_similar_length_is_the_same(name, monkeypatch):
    """On GPUs, where it is faster."""
    waveforms = [_noise(length) for length in (9000, 400, 40000, 9000, 8500, 39000)]
    backbone = _load(name)
    expected = _encode(backbone, waveforms)
    n_recordings = []
    fused = F.scaled_dot_product_attention

    def count(query, *args, **kwargs):
        n_recordings.append(len(query))
        return fused(query, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    monkeypatch.setattr(Packing.__init__, "__kwdefaults__", {"padding": 0.2})
    for own, reference in zip(_encode(backbone, waveforms), expected, strict=True):
        _assert_close(own, reference)
    assert n_recordings == [2, 3, 1] * (backbone.n_layers - 1)  # similar lengths, longest first


def test_padding_is_bounded_and_needs_no_mask_among_equal_lengths(monkeypatch):
    masks = []
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda query, *_, attn_mask, **settings: masks.append(attn_mask) or query,
    )
    n_frames = [1500] + 300 * [90] + [70]
    frames = torch.arange(float(sum(n_frames))).view(-1, 1, 1)
    packing = Packing(n_frames, "cpu", padding=0.2)
    assert torch.equal(packing.attend(frames, frames, frames), frames)
    assert masks == [None] * 3
    packing = Packing([90, 1500, 80], "cpu", padding=0.2)
    packing.attend(*[torch.zeros(1670, 1, 1)] * 3)
    assert masks[3] is None
    assert masks[4].sum(dim=-1).flatten().tolist() == [90, 80]


def test_layers_are_yielded_one_at_a_time():
    """The next layer is computed on demand, so that only one layer is in memory."""
    backbone = _load("hubert")
    layers = backbone.encode([backbone.prepare(_noise(8000))], 3)
    blocks = backbone.blocks(backbone.bare_network())
    ran = []
    hook = blocks[2].register_forward_hook(lambda *_: ran.append(3))
    try:
        for _ in range(3):
            next(layers)
        assert not ran
        next(layers)
        assert ran == [3]
    finally:
        hook.remove()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm", "data2vec", "whisper"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_stays_near(name, dtype):
    waveforms = [_noise(8000), _noise(20000)]
    exact = _encode(_load(name), waveforms)
    rough = _encode(_load(name, dtype=dtype), waveforms)
    for own, reference in zip(rough, exact, strict=True):
        for hidden, expected in zip(own, reference, strict=True):
            distance = torch.linalg.norm(hidden.float() - expected)
            assert 0 < distance <= 0.05 * torch.linalg.norm(expected)
