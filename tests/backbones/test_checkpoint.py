"""Checkpoints are found, loaded strictly and safely, and shared."""

import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from sklearn_ser import backbones
from sklearn_ser.backbones import load_backbone
from sklearn_ser.backbones._checkpoint import Checkpoint, find_checkpoint
from sklearn_ser.backbones._loading import load_network
from sklearn_ser.backbones._weights import read_tensors
from small_networks import NETWORKS, make_network, save_network, small_network


def _load(folder, family="wav2vec2", **settings):
    settings = {"device": "cpu", "dtype": "float32"} | settings
    return load_backbone(folder, family=family, **settings)


def _last_layer(backbone):
    waveform = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    *_, last = backbone.encode([backbone.prepare(waveform)], backbone.n_layers - 1)
    return last[0].numpy()


def _copy(name, tmp_path):
    return Path(shutil.copytree(small_network(name), tmp_path / name))


def _edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights), folder / "model.safetensors", metadata={"format": "pt"})


def _edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def _with_head(name, class_name, folder):
    """Save the small network as a checkpoint of another class, with a head."""
    network = make_network(name)
    with torch.random.fork_rng(devices=[]):
        whole = getattr(transformers, class_name)(network.config)
    if class_name == "WhisperForAudioClassification":  # an encoder and no decoder
        whole.encoder.load_state_dict(network.encoder.state_dict())
    else:
        getattr(whole, whole.base_model_prefix).load_state_dict(network.state_dict())
    save_network(whole, folder, NETWORKS[name][2])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("wav2vec2", "Wav2Vec2ForPreTraining"),
        ("hubert-large", "HubertForCTC"),
        ("wavlm", "WavLMForXVector"),
        ("unispeech-sat", "UniSpeechSatForPreTraining"),
        ("data2vec", "Data2VecAudioForCTC"),
        ("whisper", "WhisperForConditionalGeneration"),
        ("whisper", "WhisperForAudioClassification"),
    ],
)
def test_checkpoints_with_a_head_hold_the_same_network(name, class_name, tmp_path):
    family = "whisper" if name == "whisper" else "wav2vec2"
    expected = _last_layer(_load(small_network(name), family))
    headed = _with_head(name, class_name, tmp_path / "headed")
    np.testing.assert_array_equal(_last_layer(_load(headed, family)), expected)


def test_encoder_saved_separately_equals_the_whole_whisper(tmp_path):
    save_network(make_network("whisper").encoder, tmp_path, None)
    expected = _last_layer(_load(small_network("whisper"), "whisper"))
    np.testing.assert_array_equal(_last_layer(_load(tmp_path, "whisper")), expected)


def test_older_checkpoints_are_read_without_running_their_pickle(tmp_path):
    folder = _copy("wavlm", tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name = "encoder.pos_conv_embed.conv"
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        weights[f"{name}.{old}"] = weights.pop(f"{name}.parametrizations.weight.{new}")
    torch.save(weights, folder / "pytorch_model.bin")
    expected = _last_layer(_load(small_network("wavlm")))
    np.testing.assert_array_equal(_last_layer(_load(folder)), expected)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_error_for_truncated_file_names_the_model(file, tmp_path):
    folder = _copy("wavlm", tmp_path)
    (folder / file).write_bytes((folder / file).read_bytes()[:50])
    with pytest.raises((OSError, ValueError), match=rf"{folder}.*can't be read.*Download"):
        _last_layer(_load(folder))


@pytest.mark.parametrize("normalize", [True, False])
def test_preprocessing_nested_in_a_processor_is_honoured(normalize, tmp_path):
    folder = _copy("hubert", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)
    nested = {"feature_extractor": extractor.to_dict(), "processor_class": "Wav2Vec2Processor"}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    expected = transformers.AutoFeatureExtractor.from_pretrained(folder).do_normalize
    assert _load(folder).extractor.do_normalize == expected == normalize
    assert folder / "processor_config.json" in find_checkpoint(folder).files


def test_encoder_without_architectures_in_its_config(tmp_path):
    save_network(make_network("whisper").encoder, tmp_path, None)
    _edit_config(tmp_path, architectures=None)
    expected = _last_layer(_load(small_network("whisper"), "whisper"))
    np.testing.assert_array_equal(_last_layer(_load(tmp_path, "whisper")), expected)


def test_missing_weights_raise(tmp_path):
    folder = _copy("hubert", tmp_path)
    lost = "encoder.layers.1.attention.k_proj.weight"
    _edit_weights(folder, lambda weights: {k: v for k, v in weights.items() if k != lost})
    with pytest.raises(ValueError, match=rf"1 missing \({lost}\)"):
        _last_layer(_load(folder))


def test_unexpected_weights_of_the_network_raise(tmp_path):
    folder = _copy("hubert", tmp_path)
    _edit_config(folder, num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"16 unexpected \(encoder\.layers\.2\."):
        _last_layer(_load(folder))


def test_mismatched_weights_raise(tmp_path):
    folder = _copy("hubert", tmp_path)
    _edit_config(folder, intermediate_size=40)
    with pytest.raises(ValueError, match=r"intermediate_dense"):
        _last_layer(_load(folder))


def test_whole_whisper_with_the_class_of_an_encoder_raises(tmp_path):
    folder = _copy("whisper", tmp_path)
    _edit_config(folder, architectures=["WhisperEncoder"])
    with pytest.raises(ValueError, match="missing"):
        _last_layer(_load(folder, "whisper"))


def test_training_mask_may_be_missing(tmp_path):
    folder = _copy("wavlm", tmp_path)
    _edit_weights(folder, lambda w: {k: v for k, v in w.items() if k != "masked_spec_embed"})
    assert np.isfinite(_last_layer(_load(folder))).all()


def test_loading_is_silent_and_leaves_random_state_and_logging_alone(tmp_path, capfd):
    folder = _copy("hubert", tmp_path)
    _edit_weights(folder, lambda w: {k: v for k, v in w.items() if k != "masked_spec_embed"})
    capfd.readouterr()  # discard the output of saving
    verbosity = transformers.logging.get_verbosity()
    state = torch.get_rng_state()
    _load(folder)._network()
    assert torch.equal(torch.get_rng_state(), state)
    assert transformers.logging.get_verbosity() == verbosity
    assert capfd.readouterr() == ("", "")


def test_weights_are_loaded_once_and_frozen():
    first, second = _load(small_network("wavlm")), _load(small_network("wavlm"))
    assert first._network() is second._network()
    assert not any(weight.requires_grad for weight in first._network().parameters())
    assert not first._network().training
    assert _load(small_network("wavlm"), dtype="bfloat16")._network() is not first._network()


def test_replaced_weights_are_loaded_anew(tmp_path):
    folder = _copy("wavlm", tmp_path)
    before = _last_layer(_load(folder))
    _edit_weights(folder, lambda weights: {k: 1.1 * v for k, v in weights.items()})
    assert not np.array_equal(_last_layer(_load(folder)), before)


def test_few_networks_stay_in_memory(monkeypatch):
    from sklearn_ser.backbones import _loading

    monkeypatch.setattr(_loading, "_networks", type(_loading._networks)())
    names = ["wavlm", "hubert", "wav2vec2", "data2vec"]
    for name in [*names, "hubert"]:
        _load(small_network(name))._network()
    kept = [key[0].name for key in _loading._networks]
    assert kept == ["wav2vec2", "data2vec", "hubert"]


def test_threads_load_a_network_once():
    """Two threads wait for the same load."""
    from concurrent.futures import ThreadPoolExecutor

    from sklearn_ser.backbones import _loading

    _loading._networks.clear()
    with ThreadPoolExecutor(4) as threads:
        backbones = [_load(small_network("hubert")) for _ in range(4)]
        networks = list(threads.map(lambda backbone: backbone._network(), backbones))
    assert len({id(network) for network in networks}) == 1


# Finding checkpoints


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache, without internet access."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def _put_into_cache(cache, name, hub_id, commit="a" * 40, ref="main"):
    home = cache / f"models--{hub_id.replace('/', '--')}"
    shutil.copytree(small_network(name), home / "snapshots" / commit)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / ref).write_text(commit)
    return home / "snapshots" / commit


@pytest.mark.parametrize("local_files_only", [True, False])
def test_hub_id_in_the_cache_needs_no_network(hub_cache, local_files_only):
    folder = _put_into_cache(hub_cache, "wavlm", "owner/wavlm-small")
    found = find_checkpoint("owner/wavlm-small", local_files_only=local_files_only)
    assert found.folder == folder
    assert {path.name for path in found.files} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    expected = _last_layer(_load(small_network("wavlm")))
    np.testing.assert_array_equal(_last_layer(_load("owner/wavlm-small")), expected)


def test_revision_chooses_among_snapshots(hub_cache):
    _put_into_cache(hub_cache, "wavlm", "owner/net")
    other = _put_into_cache(hub_cache, "hubert", "owner/net", commit="b" * 40, ref="v2")
    assert find_checkpoint("owner/net", revision="v2").folder == other
    assert find_checkpoint("owner/net", revision="v2").model_type == "hubert"
    assert find_checkpoint("owner/net").model_type == "wavlm"


@pytest.mark.parametrize("local_files_only", [True, False])
def test_missing_model_is_named_with_two_remedies(hub_cache, local_files_only):
    with pytest.raises(OSError, match="owner/absent") as caught:
        find_checkpoint("owner/absent", revision="v1", local_files_only=local_files_only)
    message = str(caught.value)
    assert "hf download owner/absent --revision v1" in message
    assert "model='path/to/folder'" in message


def test_incomplete_download_raises(hub_cache):
    folder = _put_into_cache(hub_cache, "wavlm", "owner/half")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="owner/half"):
        find_checkpoint("owner/half")


def test_mistyped_folder_is_not_a_hub_id(tmp_path):
    for model in (str(tmp_path / "absent"), tmp_path / "absent", "absent", "./absent/one"):
        with pytest.raises(FileNotFoundError, match=r"absent.*there is no folder '/.*absent"):
            find_checkpoint(model)


def test_missing_relative_folder_is_named(tmp_path, monkeypatch, hub_cache):
    """It could also be a hub id, so the error names the path of the folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="is neither a folder") as caught:
        find_checkpoint("weights/absent", local_files_only=True)
    assert f"there is no {str(tmp_path / 'weights' / 'absent')!r}" in str(caught.value)


@pytest.mark.parametrize("name", ["model.pt", "weights/model.pt"])
def test_file_instead_of_folder_raises(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")
    for model in (name, path):
        with pytest.raises(NotADirectoryError, match=r"model\.pt' is a file, and a folder is need"):
            find_checkpoint(model)


def test_invalid_hub_id_raises_like_a_missing_model(hub_cache):
    with pytest.raises(OSError, match=r"'owner/a b' is neither a folder"):
        find_checkpoint("owner/a b")


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_folder_without_model_lists_missing_files(lost, tmp_path):
    folder = _copy("wavlm", tmp_path)
    (folder / lost).unlink()
    with pytest.raises(FileNotFoundError, match=lost):
        find_checkpoint(folder)


def test_revision_of_a_folder_raises():
    with pytest.raises(ValueError, match="revision='v1' is for models on the hub"):
        find_checkpoint(small_network("wavlm"), revision="v1")


def test_another_family_names_the_class_that_runs_it():
    with pytest.raises(ValueError, match=r"type 'whisper'.*use WhisperEmbedder"):
        _load(small_network("whisper"))
    with pytest.raises(ValueError, match=r"type 'wavlm'.*use HubertEmbedder"):
        _load(small_network("wavlm"), "whisper")


def test_unknown_model_type_raises(tmp_path):
    folder = _copy("wavlm", tmp_path)
    _edit_config(folder, model_type="bert")
    with pytest.raises(ValueError, match=r"type 'bert'.*wavlm, hubert.*choose another model"):
        _load(folder)


def test_sharded_weights_are_one_checkpoint(tmp_path):
    network = make_network("wavlm")
    save_network(network, tmp_path, False)
    (tmp_path / "model.safetensors").unlink()
    network.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    expected = _last_layer(_load(small_network("wavlm")))
    np.testing.assert_array_equal(_last_layer(_load(tmp_path)), expected)
    assert len(find_checkpoint(tmp_path).files) > 4


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_unavailable_device_is_named(device):
    with pytest.raises(ValueError, match=f"device='{device}'"):
        _load(small_network("wavlm"), device=device)


def test_auto_is_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert _load(small_network("wavlm"), device="auto").device == expected


def test_version_changes_when_a_file_is_replaced(tmp_path):
    folder = _copy("wavlm", tmp_path)
    checkpoint = find_checkpoint(folder)
    assert isinstance(checkpoint, Checkpoint)
    before = checkpoint.version
    _edit_config(folder, layer_norm_eps=1e-3)
    assert find_checkpoint(folder).version != before


def test_preprocessing_that_the_checkpoint_lacks_is_transformers_default(tmp_path):
    folder = _copy("wavlm", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    waveform = 3 + np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    prepared = _load(folder).prepare(waveform)
    assert abs(prepared.mean()) < 1e-3  # do_normalize=True
    np.testing.assert_array_equal(_load(small_network("wavlm")).prepare(waveform), waveform)


def test_real_whisper_weights_load(weights_folder):
    folder = weights_folder("whisper-tiny.en-encoder")
    backbone = _load(folder, "whisper")
    network = load_network(
        backbone.checkpoint,
        transformers.models.whisper.modeling_whisper.WhisperEncoder,
        device="cpu",
        dtype=torch.float32,
    )
    expected = load_file(Path(folder) / "model.safetensors")["layers.3.fc2.weight"]
    assert (backbone.n_layers, backbone.n_dims) == (5, 384)
    assert torch.equal(network.layers[3].fc2.weight, expected.float())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(1)], "contains no dict of weights"),
        ({"weights": Path()}, "pickled objects other than tensors"),
    ],
)
def test_file_without_weights_raises(tmp_path, content, says):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    checkpoint = Checkpoint("a-model", tmp_path, (path,))
    with pytest.raises(OSError, match=says) as caught:
        read_tensors(checkpoint, path)
    assert "a-model" in str(caught.value)
    assert "torch.load" not in str(caught.value)


def test_links_of_the_hub_cache_are_followed(hub_cache):
    folder = _put_into_cache(hub_cache, "wavlm", "owner/linked")
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir()
    for number, path in enumerate(folder.iterdir()):
        os.rename(path, blobs / str(number))
        path.symlink_to(f"../../blobs/{number}")
    expected = _last_layer(_load(small_network("wavlm")))
    np.testing.assert_array_equal(_last_layer(_load("owner/linked")), expected)
    np.testing.assert_array_equal(_last_layer(_load(folder)), expected)


def test_links_of_the_hub_cache_to_other_models_raise(hub_cache):
    folder = _put_into_cache(hub_cache, "wavlm", "owner/linked")
    other = _put_into_cache(hub_cache, "wavlm", "owner/other")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(other / "model.safetensors")
    with pytest.raises(ValueError, match=r"'owner/linked' can't be used: .*outside of the folder"):
        _load("owner/linked")


def test_a_link_to_the_folder_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(small_network("wavlm"))
    expected = _last_layer(_load(small_network("wavlm")))
    np.testing.assert_array_equal(_last_layer(_load(tmp_path / "link")), expected)


def test_a_lost_file_of_the_hub_cache_raises(hub_cache):
    folder = _put_into_cache(hub_cache, "wavlm", "owner/lost")
    (folder / "preprocessor_config.json").unlink()
    (folder / "preprocessor_config.json").symlink_to("../../blobs/gone")
    with pytest.raises(OSError, match="'owner/lost'"):
        _load("owner/lost")
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config\.json is a link to a file"):
        _load(folder)


def test_only_the_weights_that_transformers_reads_are_files_of_a_checkpoint(tmp_path):
    folder = _copy("wavlm", tmp_path)
    for stray in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (folder / stray).write_bytes(b"stray")
    (folder / "pytorch_model.bin").write_bytes(b"stray")
    names = {path.name for path in find_checkpoint(folder).files}
    assert names == {"config.json", "preprocessor_config.json", "model.safetensors"}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors or pytorch_model\.bin"):
        find_checkpoint(folder)


def test_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    """The tests may run as root, who may read all files."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    folder = _copy("wavlm", tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match=rf"config\.json of model='{folder}'.*can't be read.*denied"):
        _load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_in_memory_do_not_change_with_the_file(name, tmp_path):
    folder = _copy("wavlm", tmp_path)
    if name == "pytorch_model.bin":
        torch.save(load_file(folder / "model.safetensors"), folder / name)
        (folder / "model.safetensors").unlink()
    network = _load(folder)._network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    content = (folder / name).read_bytes()
    with open(folder / name, "r+b") as file:
        file.write(bytes(len(content)))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, msg=key)


def test_weights_that_overflow_name_the_precision(tmp_path):
    folder = _copy("wavlm", tmp_path)
    _edit_weights(folder, lambda weights: {k: 1e6 * v for k, v in weights.items()})
    assert _load(folder)._network() is not None
    with pytest.raises(ValueError, match=r"not finite in float16.* choose dtype='float32'"):
        _load(folder, dtype="float16")._network()


def test_limits_of_size_hold_in_one_thread_only():
    """Another thread may build a large network while a checkpoint is loaded."""
    from concurrent.futures import ThreadPoolExecutor

    from sklearn_ser.backbones._loading import _size_limit

    checkpoint = find_checkpoint(small_network("wavlm"))

    def build():
        with torch.device("meta"):
            return torch.nn.Linear(10**5, 10**5)

    with _size_limit(checkpoint, {}), ThreadPoolExecutor(1) as threads:
        assert threads.submit(build).result().weight.shape == (10**5, 10**5)
        with pytest.raises(ValueError, match="larger network"):
            build()
    build()


def test_a_library_that_fails_when_it_is_imported_is_an_import_error(monkeypatch):
    monkeypatch.setitem(backbones._MODULE_OF, "damaged", "_search")
    with pytest.raises(ImportError, match=r"_search can't be imported: .* no attribute 'damaged'"):
        backbones.damaged  # noqa: B018
