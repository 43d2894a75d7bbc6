"""Text encoders equal those of transformers, and are loaded strictly."""

import functools
import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from sklearn_ser.backbones import load_text_backbone
from sklearn_ser.backbones._checkpoint import TEXT, find_checkpoint
from small_networks import mostly_slow
from small_text_networks import (
    SENTENCES,
    TEXT_NETWORKS,
    make_text_network,
    save_text_network,
    small_text_network,
)

STOPPING = ["bert", "camembert", "distilbert", "roberta", "xlm-roberta"]


def _load(folder, **settings):
    return load_text_backbone(folder, **({"device": "cpu", "dtype": "float32"} | settings))


@functools.lru_cache(maxsize=2)
def _load_both(folder):
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def _hidden_states(folder, text):
    """Return the output of transformers' tokenizer and network for one text."""
    tokenizer, network = _load_both(folder)
    with torch.no_grad():
        output = network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    assert torch.equal(output.last_hidden_state, output.hidden_states[-1])
    return [hidden_states[0].numpy() for hidden_states in output.hidden_states]


def _last_layer(backbone, text=SENTENCES[0]):
    [ids], _ = backbone.tokenize([text])
    *_, last = backbone.encode([ids], backbone.n_layers - 1)
    return last[0].numpy()


def _copy(name, tmp_path):
    return Path(shutil.copytree(small_text_network(name), tmp_path / name))


def _edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights), folder / "model.safetensors", metadata={"format": "pt"})


def _edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("name", mostly_slow(TEXT_NETWORKS))
def test_hidden_states_are_those_of_transformers(name):
    folder = small_text_network(name)
    backbone = _load(folder)
    for text in SENTENCES[2:]:
        expected = _hidden_states(folder, text)
        assert backbone.n_layers == len(expected)
        [ids], [n_tokens] = backbone.tokenize([text])
        assert n_tokens == len(ids) == len(expected[0])
        for found, wanted in zip(backbone.encode([ids, ids], 3), expected, strict=True):
            assert found.shape == (2, n_tokens, backbone.n_dims)
            for row in found.numpy():
                assert np.linalg.norm(row - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("name", mostly_slow(TEXT_NETWORKS))
def test_a_layer_is_the_same_whether_or_not_deeper_ones_are_asked_for(name):
    backbone = _load(small_text_network(name))
    [ids], _ = backbone.tokenize(SENTENCES[:1])
    whole = list(backbone.encode([ids], 3))
    for last_layer in range(4):
        some = list(backbone.encode([ids], last_layer))
        assert len(some) == last_layer + 1
        for found, wanted in zip(some, whole, strict=False):
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", STOPPING)
@pytest.mark.parametrize("last_layer", [0, 1, 3])
def test_blocks_beyond_the_deepest_layer_do_not_run(name, last_layer, monkeypatch):
    backbone = _load(small_text_network(name))
    [ids], _ = backbone.tokenize(SENTENCES[:1])
    network = backbone._network()
    blocks = (network.transformer if name == "distilbert" else network.encoder).layer
    ran = []
    hooks = [
        block.register_forward_hook(lambda block, *_: ran.append(id(block))) for block in blocks
    ]
    try:
        list(backbone.encode([ids], last_layer))
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [id(block) for block in blocks[:last_layer]]


def test_the_state_of_a_network_is_left_alone():
    backbone = _load(small_text_network("bert"))
    network = backbone._network()
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    assert _load(small_text_network("bert"))._network() is network


# Loading


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("bert", "ForMaskedLM"),
        ("bert", "ForPreTraining"),
        ("bert", "ForSequenceClassification"),
        ("distilbert", "ForMaskedLM"),
        ("distilbert", "ForSequenceClassification"),
        ("roberta", "ForMaskedLM"),
        ("roberta", "ForSequenceClassification"),
        ("xlm-roberta", "ForMaskedLM"),
        ("albert", "ForMaskedLM"),
        ("albert", "ForPreTraining"),
        ("electra", "ForPreTraining"),
        ("deberta-v3", "ForMaskedLM"),
        ("deberta-v3", "ForSequenceClassification"),
        ("mpnet", "ForMaskedLM"),
        ("modernbert", "ForMaskedLM"),
        ("fnet", "ForMaskedLM"),
    ],
)
def test_checkpoints_with_a_head_hold_the_same_network(name, head, tmp_path):
    network = make_text_network(name)
    whole = make_text_network(name, head)
    base = getattr(whole, whole.base_model_prefix)
    base.load_state_dict(network.state_dict(), strict=False)
    save_text_network(whole, tmp_path / "headed", TEXT_NETWORKS[name][2])
    expected = _last_layer(_load(small_text_network(name)))
    np.testing.assert_array_equal(_last_layer(_load(tmp_path / "headed")), expected)


def test_missing_pooler_and_unexpected_position_ids_are_ignored(tmp_path):
    folder = _copy("bert", tmp_path)
    expected = _last_layer(_load(folder))
    extra = {"embeddings.position_ids": torch.arange(120)[None]}
    _edit_weights(
        folder, lambda w: {k: v for k, v in w.items() if not k.startswith("pooler")} | extra
    )
    np.testing.assert_array_equal(_last_layer(_load(folder)), expected)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("bert", "encoder.layer.1.attention.self.key.weight"),
        ("bert", "embeddings.position_embeddings.weight"),
        ("distilbert", "transformer.layer.0.attention.q_lin.bias"),
        ("deberta-v3", "encoder.rel_embeddings.weight"),
        ("modernbert", "final_norm.weight"),
    ],
)
def test_missing_weights_raise(name, lost, tmp_path):
    folder = _copy(name, tmp_path)
    _edit_weights(folder, lambda weights: {k: v for k, v in weights.items() if k != lost})
    with pytest.raises(ValueError, match=rf"1 missing \({lost}\)"):
        _last_layer(_load(folder))


def test_unexpected_and_mismatched_weights_raise(tmp_path):
    folder = _copy("distilbert", tmp_path)
    _edit_config(folder, n_layers=2)
    with pytest.raises(ValueError, match=r"16 unexpected \(transformer\.layer\.2\."):
        _last_layer(_load(folder))
    _edit_config(folder, n_layers=3, hidden_dim=40)
    with pytest.raises(ValueError, match=r"of another shape .*ffn"):
        _last_layer(_load(folder))


def test_folder_without_tokenizer_raises(tmp_path):
    folder = _copy("bert", tmp_path)
    for path in folder.glob("*"):
        if path.name not in {"config.json", "model.safetensors", "tokenizer_config.json"}:
            path.unlink()
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        _load(folder)


def test_tokenizer_of_another_model_raises(tmp_path):
    folder = save_text_network(make_text_network("bert", vocab_size=9), tmp_path, "wordpiece")
    with pytest.raises(ValueError, match=r"returned the token id \d+, .*vocabulary has 9 tokens"):
        _last_layer(_load(folder))


def test_the_tokenizer_is_part_of_the_checkpoint():
    checkpoint = find_checkpoint(small_text_network("bert"), layouts=(TEXT,))
    names = {path.name for path in checkpoint.files}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    without = find_checkpoint(small_text_network("bert"))
    assert {path.name for path in without.files} == {"config.json", "model.safetensors"}


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    folder = _copy("bert", tmp_path)
    ran = tmp_path / "ran"
    (folder / "foreign.py").write_text(f"open({str(ran)!r}, 'w')\n")
    expected = _last_layer(_load(folder))
    names = {"AutoConfig": "foreign.Config", "AutoModel": "foreign.Model"}
    _edit_config(folder, auto_map=names | {"AutoTokenizer": ["foreign.Tokenizer", None]})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["foreign.Tokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    np.testing.assert_array_equal(_last_layer(_load(folder)), expected)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gpt2"}, "'gpt2', and this embedder supports text encoders"),
        ({"model_type": "t5"}, "'t5'"),
        ({"model_type": "bart"}, "'bart' with is_encoder_decoder=True"),
        ({"model_type": "wavlm"}, "'wavlm'"),
        ({"model_type": "big_bird"}, "'big_bird'"),
        ({"model_type": "unheard-of"}, "'unheard-of'"),
        ({"is_decoder": True}, "'bert' with is_decoder=True"),
    ],
)
def test_unsupported_network_raises_before_weights_are_read(changes, says, tmp_path):
    folder = _copy("bert", tmp_path)
    _edit_config(folder, **changes)
    (folder / "model.safetensors").write_bytes(b"unread")
    with pytest.raises(ValueError, match=says):
        _load(folder)


def test_networks_without_hidden_states_per_token_raise(tmp_path):
    config = transformers.FunnelConfig(
        block_sizes=[1, 1], d_model=32, n_head=2, d_head=16, d_inner=48, vocab_size=90
    )
    folder = save_text_network(transformers.FunnelModel(config), tmp_path, "wordpiece")
    with pytest.raises(ValueError, match="a row for each token"):
        _last_layer(_load(folder))


def test_models_without_an_owner_are_found_on_the_hub(monkeypatch, tmp_path):
    asked = []

    def download(name, *, allow_patterns, **settings):
        asked.append((name, allow_patterns))
        return small_text_network("bert")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    for old, new in [
        ("distilbert-base-uncased", "distilbert/distilbert-base-uncased"),
        ("bert-base-german-cased", "google-bert/bert-base-german-cased"),
        ("roberta-base", "FacebookAI/roberta-base"),
        ("xlm-roberta-large", "FacebookAI/xlm-roberta-large"),
        ("distilroberta-base", "distilbert/distilroberta-base"),
        ("albert-base-v2", "albert/albert-base-v2"),
    ]:
        backbone = _load(old)
        assert backbone.checkpoint.model == asked[-1][0] == new
        assert {"tokenizer.json", "vocab.txt", "merges.txt", "*.model"} <= set(asked[-1][1])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        _load("my-folder")


def test_missing_model_names_two_remedies():
    with pytest.raises(OSError, match=r"hf download nobody/nothing.*model='path/to/folder'"):
        _load("nobody/nothing", local_files_only=True)


# Length


@pytest.mark.parametrize(
    ("name", "limit"),
    [("bert", 64), ("roberta", 118), ("mpnet", 64), ("xlm-roberta", 118), ("deberta-v3", 120)],
)
def test_the_limit_is_what_tokenizer_and_positions_allow(name, limit):
    backbone = _load(small_text_network(name))
    assert backbone.max_tokens == limit
    [ids], [n_tokens] = backbone.tokenize(["no " * 200])
    assert len(ids) == limit < n_tokens
    assert _last_layer(backbone, "no " * 200).shape == (limit, 32)


def test_truncated_text_keeps_first_words_and_last_token():
    backbone = _load(small_text_network("bert"), max_length=5)
    [whole, cut], n_tokens = _load(small_text_network("bert")).tokenize(["n o", "n o u n o"])
    [same, ids], _ = backbone.tokenize(["n o", "n o u n o"])
    assert n_tokens == [4, 7]
    assert same == whole
    assert ids == (*cut[:4], cut[-1])


@pytest.mark.parametrize("max_length", [1, 2, 121])
def test_invalid_max_length_raises(max_length):
    backbone = _load(small_text_network("bert"), max_length=max_length)
    with pytest.raises(ValueError, match=r"adds 2 tokens to each text and takes at most 120"):
        backbone.tokenize(["no"])


def test_more_texts_than_are_tokenized_at_once_keep_their_order():
    backbone = _load(small_text_network("bert"))
    texts = ["n " * (number % 7) for number in range(2500)]
    token_ids, n_tokens = backbone.tokenize(texts)
    assert n_tokens == [2 + number % 7 for number in range(2500)]
    assert list(map(len, token_ids)) == n_tokens
