"""Checkpoints that are damaged, absurd or malicious: one table of cases for all loaders.

A case names a sound checkpoint, what is done to a copy of it, and what the error must say. Every
loader is in `LOADERS`, and each has a case with a canary, which would show that code was run.
"""

import functools
import io
import json
import os
import pickle
import re
import shutil
import zipfile
from dataclasses import dataclass
from functools import partial

import torch
from safetensors.torch import load_file, save_file

from sklearn_ser import (
    CodecEmbedder,
    HubertEmbedder,
    PretrainedEmotionClassifier,
    TextEmbedder,
    WavLMEmbedder,
    WhisperEmbedder,
    XVectorEmbedder,
)
from small_codecs import save_snac, small_codec
from small_networks import saved_once, small_network
from small_speaker_networks import save_ge2e, save_speechbrain
from small_text_networks import small_text_network

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
CANARY = "canary"  # created beside the checkpoint if code runs
MEMORY = 2**30  # bytes that a test may allocate


def _save_encodec(folder):
    from encodec import EncodecModel

    with torch.random.fork_rng(devices=[]):
        network = EncodecModel.encodec_model_24khz(pretrained=False)
    folder.mkdir()
    torch.save(network.state_dict(), folder / "encodec_24khz-d7cc33bc.th")


def _save_soundstream(folder):
    from sklearn_ser.backbones._soundstream import SoundStreamEncoder

    with torch.random.fork_rng(devices=[]):
        network = SoundStreamEncoder()
    folder.mkdir()
    torch.save(network.state_dict(), folder / "soundstream_variant_naturalspeech2.pt")


def _saved(name, save):
    return lambda: saved_once("hostile", name, save)


# Name of a loader -> the embedder, a function that returns a sound checkpoint, and what of it holds
# the weights.
LOADERS = {
    "wavlm": (WavLMEmbedder, partial(small_network, "wavlm"), SAFETENSORS),
    "hubert": (HubertEmbedder, partial(small_network, "hubert-large"), SAFETENSORS),
    "whisper": (WhisperEmbedder, partial(small_network, "whisper"), SAFETENSORS),
    "text": (TextEmbedder, partial(small_text_network, "roberta"), SAFETENSORS),
    "xvector": (XVectorEmbedder, partial(small_network, "wavlm-sv"), SAFETENSORS),
    "head": (PretrainedEmotionClassifier, partial(small_network, "hubert-er"), SAFETENSORS),
    "encodec": (CodecEmbedder, partial(small_codec, "encodec"), SAFETENSORS),
    "dac": (CodecEmbedder, partial(small_codec, "dac"), SAFETENSORS),
    "mimi": (CodecEmbedder, partial(small_codec, "mimi"), SAFETENSORS),
    "snac": (CodecEmbedder, _saved("snac", save_snac), BIN),
    "ge2e": (
        XVectorEmbedder,
        _saved("ge2e", lambda folder: save_ge2e(folder / "pretrained.pt")),
        "pretrained.pt",
    ),
    "speechbrain": (
        XVectorEmbedder,
        _saved("speechbrain", partial(save_speechbrain, "xvector")),
        "embedding_model.ckpt",
    ),
    "encodec package": (
        CodecEmbedder,
        _saved("encodec", _save_encodec),
        "encodec_24khz-d7cc33bc.th",
    ),
    "soundstream": (
        CodecEmbedder,
        _saved("soundstream", _save_soundstream),
        "soundstream_variant_naturalspeech2.pt",
    ),
}
PICKLED = [name for name, (_, _, weights) in LOADERS.items() if weights != SAFETENSORS]
TRANSFORMERS = [name for name, (_, _, weights) in LOADERS.items() if weights == SAFETENSORS]


@dataclass(frozen=True)
class Case:
    """A change of a sound checkpoint, and what the error must say; None if it has no effect."""

    loader: str
    change: object
    says: str | None
    name: str

    def __str__(self):
        return f"{self.loader}: {self.name}"


class _Allocates:
    """Unpickles to a hundred GB."""

    def __reduce__(self):
        return bytearray, (100 * MEMORY,)


class _RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# Changes: functions of the folder and the name of the file with the weights.


def config(**values):
    """Change values of ``config.json``."""

    def change(folder, weights):
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(settings | values))

    return change


def preprocessing(**values):
    """Change values of ``preprocessor_config.json``."""

    def change(folder, weights):
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def hyperparameters(pattern, replacement):
    """Change ``hyperparams.yaml``."""

    def change(folder, weights):
        path = folder / "hyperparams.yaml"
        text, n_changes = re.subn(pattern, replacement, path.read_text(), count=1)
        assert n_changes
        path.write_text(text.replace("CANARY", str(folder / CANARY)))

    return change


def content(name, value):
    """Replace the content of a file."""

    def change(folder, weights):
        (folder / (name or weights)).write_bytes(value)

    return change


def cut(name=None, n_bytes=50):
    """Truncate a file."""

    def change(folder, weights):
        path = folder / (name or weights)
        path.write_bytes(path.read_bytes()[:n_bytes])

    return change


def pipe(name):
    """Replace a file by a named pipe, of which reading would never end."""

    def change(folder, weights):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def link_outside(name):
    """Move a file out of the folder, and link to it."""

    def change(folder, weights):
        path = folder / (name or weights)
        shutil.move(path, folder.parent / path.name)
        path.symlink_to(folder.parent / path.name)

    return change


def _read(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)


def _write(tensors, path):
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        torch.save(tensors, path)


def tensors(edit):
    """Edit the weights: a function from name and tensor to a tensor, or None to drop it."""

    def change(folder, weights):
        saved = _read(folder / weights)
        nested = saved.get("model_state", saved)
        edited = {name: edit(name, x) for name, x in nested.items()}
        nested.clear()
        nested.update({name: x for name, x in edited.items() if x is not None})
        _write(saved, folder / weights)

    return change


def first_matrix(edit):
    """Edit the first float tensor with two axes or more."""
    done = []

    def edit_one(name, x):
        if x.ndim < 2 or not x.is_floating_point() or "decoder" in name or done:
            return x
        done.append(name)
        return edit(x)

    def change(folder, weights):
        done.clear()
        tensors(edit_one)(folder, weights)

    return change


def with_nan(x):
    """Return a copy with one NaN."""
    x = x.clone()
    x.view(-1)[0] = torch.nan
    return x


def pickled(edit):
    """Replace the weights by a pickle of what a function of the folder returns."""

    def change(folder, weights):
        if weights == SAFETENSORS:
            (folder / weights).unlink()
            weights = BIN
        torch.save(edit(folder), folder / weights)

    return change


def evil(folder):
    """Return weights that create the canary if they are unpickled."""
    return {"weight": _RunsCode(folder / CANARY)}


def evil_without_zip(folder, weights):
    """Replace the weights by a plain pickle that creates the canary."""
    if weights == SAFETENSORS:
        (folder / weights).unlink()
        weights = BIN
    (folder / weights).write_bytes(pickle.dumps(_RunsCode(folder / CANARY), protocol=2))


def compressed(n_blocks):
    """Replace the weights by compressed ones, of so many times 16 MB."""

    def change(folder, weights):
        if weights == SAFETENSORS:
            (folder / weights).unlink()
            weights = BIN
        (folder / weights).write_bytes(_compress_zeros(n_blocks))

    return change


@functools.cache
def _compress_zeros(n_blocks):
    plain, bombed = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, plain)
    with (
        zipfile.ZipFile(plain) as records,
        zipfile.ZipFile(bombed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name in records.namelist():
            archive.writestr(name, records.read(name))
        with archive.open("archive/data/1", "w", force_zip64=True) as record:
            for _ in range(n_blocks):
                record.write(bytes(2**24))
    return bombed.getvalue()


def sharded(*, name="{shard}", first=None):
    """Split the weights into two shards, with other names in the index than in the folder."""

    def change(folder, weights):
        saved = load_file(folder / weights)
        (folder / weights).unlink()
        weight_map = {}
        for number, keys in enumerate((list(saved)[::2], list(saved)[1::2]), start=1):
            shard = f"model-{number:05}-of-00002.safetensors"
            path = folder / name.format(shard=shard)
            save_file({key: saved[key] for key in keys}, path, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(keys, name.format(shard=shard))
        if first is not None:
            weight_map[next(iter(weight_map))] = first
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / f"{SAFETENSORS}.index.json").write_text(json.dumps(index))
        if ".." in name:  # what the pattern of shards finds
            save_file({}, folder / "model-00001-of-00001.safetensors")

    return change


def adapter(folder, weights):
    """Add a low-rank adapter, with weights that are no part of the network."""
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "a/b"}))


def remote_code(name, key="auto_map"):
    """Refer to a module in the folder that creates the canary."""

    def change(folder, weights):
        code = f"open({str(folder / CANARY)!r}, 'w')\nclass Evil: pass\n"
        (folder / "evil.py").write_text(code)
        settings = json.loads((folder / name).read_text())
        classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoFeatureExtractor")
        settings[key] = dict.fromkeys(classes, "evil.Evil")
        (folder / name).write_text(json.dumps(settings))

    return change


def tokenizer_config(**values):
    """Change values of ``tokenizer_config.json``."""

    def change(folder, weights):
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def alias_bomb(folder, weights):
    """Append a YAML list of lists that are each ten times the one before."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = folder / "hyperparams.yaml"
    text = path.read_text().replace("[5, 3, 3, 1, 1]", "*a11")
    path.write_text("\n".join([*lines, text]))


DEEP_JSON = b'{"a":' * 100_000
DEEP_YAML = b"a: " + b"[" * 100_000


def _cases_of(loader, changes):
    return [Case(loader, change, says, name) for name, change, says in changes]


IN_EVERY_PICKLE = [
    ("pickle with code", pickled(evil), "can run code"),
    ("plain pickle with code", evil_without_zip, "can run code"),
    ("compressed", compressed(1), "records are compressed"),
    ("zip bomb", compressed(MEMORY // 2**24 + 10), "records are compressed"),
    ("a list", pickled(lambda folder: [torch.zeros(1)]), "contains no dict"),
    ("numbers", pickled(lambda folder: {"weight": 1.0}), "float|no 'model_state'"),
    ("numbered", pickled(lambda folder: {1: torch.zeros(1)}), "1|no 'model_state'"),
    ("huge bytearray", pickled(lambda folder: {"a": _Allocates()}), "can't be read|contain"),
]
IN_EVERY_FILE = [
    ("empty", content(None, b""), "can't be read|damaged"),
    ("text", content(None, b"<!doctype html><title>Sign in</title>"), "can't be read|damaged"),
    ("LFS pointer", content(None, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    ("cut", cut(), "can't be read|damaged"),
    ("half", cut(n_bytes=10_000), "can't be read|damaged"),
    ("linked outside", link_outside(None), "outside of the folder"),
    ("NaN", tensors(lambda name, x: x * torch.nan if x.is_floating_point() else x), "not finite"),
    ("one NaN", first_matrix(with_nan), "not finite in float32"),
    ("int8", first_matrix(lambda x: x.to(torch.int8)), "of type int8; quantised"),
    ("uint8", first_matrix(lambda x: x.to(torch.uint8)), "of type uint8; quantised"),
    ("float8", first_matrix(lambda x: x.to(torch.float8_e4m3fn)), "of type float8_e4m3fn"),
    ("truth values", first_matrix(lambda x: x > 0), "of type bool"),
    ("wider", first_matrix(lambda x: torch.cat([x, x])), "of another shape|larger|not belong"),
]
IN_EVERY_CONFIG = [
    ("deep JSON", content("config.json", DEEP_JSON), r"config\.json .*can't be read .*not valid"),
    ("no JSON", content("config.json", b"{"), r"config\.json .*can't be read .*not valid JSON"),
    ("a list as JSON", content("config.json", b"[1]"), "not a JSON object"),
    ("huge number", content("config.json", b'{"d_model": ' + b"9" * 9999 + b"}"), "not valid JSON"),
    ("UTF-16", content("config.json", '{"é": 1}'.encode("latin1")), "not valid JSON"),
    ("named pipe as config", pipe("config.json"), "is no regular file"),
    ("named pipe as weights", pipe(SAFETENSORS), "is no regular file"),
    ("linked config", link_outside("config.json"), "outside of the folder"),
    ("type is a list", config(model_type=["wavlm"]), "of type None"),
    ("type is a number", config(model_type=5), "of type None"),
    ("code", config(auto_map={"AutoConfig": "evil.Evil"}, model_type="evil"), "of type 'evil'"),
    ("quantised", config(quantization_config={"quant_method": "gptq"}), "is quantised"),
    ("adapter", adapter, None),
    ("million labels", config(num_labels=10**9), r"num_labels=1000000000"),
]
EVIL_SHARDS = [
    ("shards outside", sharded(name="../{shard}"), "'../model-00001.*outside of the folder"),
    ("one shard outside", sharded(first="../a.safetensors"), "outside of the folder"),
    ("absolute shard", sharded(first="/etc/passwd"), "'/etc/passwd', outside of the folder"),
    ("no name", sharded(first=""), "outside of the folder"),
    ("folder above", sharded(first=".."), "outside of the folder"),
    ("lost shard", sharded(first="model-00003.safetensors"), r"no model-00003\.safetensors"),
    ("name of a shard is a number", sharded(first=5), "no 'weight_map'"),
]

CASES = [
    *(case for loader in PICKLED for case in _cases_of(loader, IN_EVERY_PICKLE)),
    *(case for loader in LOADERS for case in _cases_of(loader, IN_EVERY_FILE)),
    *(case for loader in TRANSFORMERS for case in _cases_of(loader, IN_EVERY_CONFIG[:2])),
    *_cases_of("wavlm", IN_EVERY_PICKLE[:4]),
    *_cases_of("wavlm", IN_EVERY_CONFIG[2:]),
    *_cases_of("text", EVIL_SHARDS[:1]),
    *_cases_of("wavlm", EVIL_SHARDS),
    *_cases_of(
        "wavlm",
        [
            ("layers", config(num_hidden_layers=10**7), "num_hidden_layers=10000000"),
            ("more layers", config(num_hidden_layers=5000), "does not belong .*5000 layers"),
            ("some more layers", config(num_hidden_layers=70), "larger network"),
            ("no layers", config(num_hidden_layers=0), "unexpected|n_layers"),
            ("negative layers", config(num_hidden_layers=-3), "n_layers would be -2"),
            ("layers as text", config(num_hidden_layers="3"), "describes no network"),
            ("layers as list", config(num_hidden_layers=[3]), "describes no network"),
            ("width", config(hidden_size=60_000), "60000 dimensions, which no weight has"),
            ("inner width", config(intermediate_size=10**9), "larger network"),
            ("vast inner width", config(intermediate_size=10**18), "no network|larger network"),
            ("positions", config(num_conv_pos_embeddings=10**9), "larger network"),
            ("buckets", config(num_buckets=10**9), "larger network"),
            ("no heads", config(num_attention_heads=0), "describes no network"),
            ("odd heads", config(num_attention_heads=5), "describes no network"),
            ("activation", config(hidden_act="exec"), "describes no network"),
            ("no stride", config(conv_stride=[0] * 7), "stride would be 0"),
            ("negative stride", config(conv_stride=[-5] + [2] * 6), "stride would be -320"),
            ("wide stride", config(conv_stride=[10**6] * 7), "stride would be vast"),
            ("kernels", config(conv_kernel=[10**9] * 7), "min_samples would be"),
            ("fewer kernels", config(conv_kernel=[10, 3]), "describes no network"),
            ("no kernels", config(conv_kernel=None), "describes no network"),
            ("evil name", config(_name_or_path="/etc/passwd"), None),
            ("evil kernel", config(_attn_implementation="owner/evil-kernel"), None),
            ("evil attention", config(attn_implementation="owner/evil-kernel"), None),
            ("other weights", config(transformers_weights="../evil.safetensors"), None),
            ("remote code", remote_code("config.json"), None),
            ("remote code of extractor", remote_code("preprocessor_config.json"), None),
            ("rate 0", preprocessing(sampling_rate=0), "sampling_rate=0; an integer from 1000"),
            ("rate as text", preprocessing(sampling_rate="16k"), "sampling_rate='16k'"),
            ("feature size", preprocessing(feature_size=10**9), "feature_size=1000000000"),
            ("deep extractor", content("preprocessor_config.json", DEEP_JSON), "not valid JSON"),
            ("no extractor", content("preprocessor_config.json", b"[]"), "not a JSON object"),
            ("pipe as extractor", pipe("preprocessor_config.json"), "is no regular file"),
            ("deep processor", content("processor_config.json", DEEP_JSON), "not valid JSON"),
        ],
    ),
    *_cases_of(
        "whisper",
        [
            ("layers", config(encoder_layers=10**7), "encoder_layers=10000000"),
            ("layers of decoder", config(decoder_layers=90_000), "larger network"),
            ("width", config(d_model=60_000), "60000 dimensions"),
            ("inner width", config(encoder_ffn_dim=10**9), "larger network"),
            ("long", config(max_source_positions=10**9), "max_samples would be"),
            ("bands", config(num_mel_bins=10**7), r"feature_size|\(num_mel_bins\)"),
            ("window", preprocessing(n_fft=10**9), "n_fft=1000000000"),
            ("hop 0", preprocessing(hop_length=0), "hop_length=0"),
            ("long chunk", preprocessing(chunk_length=10**9), "chunk_length=1000000000"),
            ("bands of extractor", preprocessing(feature_size=10**7), "feature_size=10000000"),
        ],
    ),
    *_cases_of(
        "text",
        [
            ("layers", config(num_hidden_layers=10**7), "num_hidden_layers=10000000"),
            ("width", config(hidden_size=60_000), "60000 dimensions"),
            ("vocabulary", config(vocab_size=10**9), "larger network"),
            ("positions", config(max_position_embeddings=10**9), "larger network"),
            ("kernel", config(attn_implementation="owner/evil-kernel"), None),
            ("deep tokenizer", content("tokenizer.json", DEEP_JSON), "tokenizer .*can't be read"),
            ("cut tokenizer", cut("tokenizer.json"), "tokenizer .*can't be read"),
            ("pipe as tokenizer", pipe("tokenizer.json"), "is no regular file"),
            ("code of tokenizer", remote_code("tokenizer_config.json"), None),
            ("linked tokenizer", link_outside("tokenizer.json"), "outside of the folder"),
            ("deep settings", content("tokenizer_config.json", DEEP_JSON), "tokenizer .*can't be"),
            ("length as text", tokenizer_config(model_max_length="long"), "tokenizer .*can't be"),
            ("no padding", config(pad_token_id=None), "pad_token_id"),
        ],
    ),
    *_cases_of(
        "head",
        [
            ("labels", config(id2label={"0": "anger"}), "of another shape"),
            ("no labels", config(id2label={}), "of another shape"),
            ("width", config(classifier_proj_size=10**9), "larger network"),
        ],
    ),
    *_cases_of("xvector", [("width", config(xvector_output_dim=10**5), "which no weight has")]),
    *_cases_of(
        "encodec",
        [
            ("rate 0", config(sampling_rate=0), "describes no network|sampling_rate would be 0"),
            ("width", config(hidden_size=60_000), "60000 dimensions"),
            ("filters", config(num_filters=10**6), "larger network|of another shape"),
            ("residual layers", config(num_residual_layers=10**8), "num_residual_layers=100000000"),
            ("more layers", config(num_residual_layers=9_000), "larger network"),
            ("ratios of 0", config(upsampling_ratios=[0, 5, 4, 2]), "describes no|stride would be"),
            ("codebook", config(codebook_size=2**33), "larger network"),
        ],
    ),
    *_cases_of(
        "dac",
        [
            ("codebooks", config(n_codebooks=10**7), "n_codebooks=10000000"),
            ("ratios", config(downsampling_ratios=[0]), "stride would be 0|unexpected"),
            ("width", config(encoder_hidden_size=10**6), "larger network"),
        ],
    ),
    *_cases_of(
        "mimi",
        [
            ("quantisers", config(num_quantizers=10**7), "num_quantizers=10000000"),
            ("layers", config(num_hidden_layers=90_000), "larger network"),
            ("rate 0", config(sampling_rate=0), "sampling_rate would be 0|describes no"),
        ],
    ),
    *_cases_of(
        "snac",
        [
            ("width", config(encoder_dim=10**6), "n_dims would be"),
            ("width of decoder", config(decoder_dim=10**6), "larger network"),
            ("rate 0", config(sampling_rate=0), "sampling_rate would be 0"),
            ("rates", config(encoder_rates=[0, 4, 8, 8]), "stride would be|describes no network"),
            ("rates as text", config(encoder_rates="2488"), "describes no network"),
            ("many rates", config(encoder_rates=[1] * 10**5), "n_dims would be vast"),
            ("many quantisers", config(vq_strides=[1] * 10**5), "does not belong"),
            ("codebook", config(codebook_size=10**10), "larger network"),
            ("code", config(evil="os.system"), "does not support: evil"),
        ],
    ),
    *_cases_of(
        "speechbrain",
        [
            (
                "new object",
                hyperparameters("n_mels: 24", "n_mels: !new:builtins.open [CANARY, w]"),
                "not a plain",
            ),
            (
                "call",
                hyperparameters("norm_type: sentence", "norm_type: !apply:open [CANARY, w]"),
                "not a plain",
            ),
            (
                "Python object",
                hyperparameters("n_mels: 24", "n_mels: !!python/object/apply:open [CANARY, w]"),
                "not a plain",
            ),
            (
                "other class",
                hyperparameters("!new:speechbrain.lobes.models.Xvector.Xvector", "!new:os.system"),
                r"os\.system",
            ),
            ("width", hyperparameters("lin_neurons: 20", "lin_neurons: 1000000000"), "not a plain"),
            ("wide", hyperparameters("lin_neurons: 20", "lin_neurons: 999999"), "999999 dimens"),
            (
                "blocks",
                hyperparameters("tdnn_blocks: 5", "tdnn_blocks: 900000"),
                "does not support",
            ),
            ("channels", hyperparameters(r"\[32, 32", "[999999, 999999"), "larger network"),
            ("bands", hyperparameters("n_mels: 24", "n_mels: 999999"), "n_mels=999999"),
            (
                "kernels of 0",
                hyperparameters(r"\[5, 3, 3, 1, 1\]", "[0, 0, 0, 0, 0]"),
                "support|shape",
            ),
            ("kernels as text", hyperparameters(r"\[5, 3, 3, 1, 1\]", "five"), "does not support"),
            ("alias bomb", alias_bomb, "alias"),
            ("deep YAML", content("hyperparams.yaml", DEEP_YAML), "not valid YAML"),
            ("binary YAML", content("hyperparams.yaml", bytes(range(256))), "not valid YAML"),
            ("named pipe", pipe("hyperparams.yaml"), "is no regular file"),
        ],
    ),
]
