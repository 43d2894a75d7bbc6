"""Small text encoders of the real architectures with tokenizers, saved as on the hub."""

from small_networks import saved_once

SENTENCES = [
    "I am so happy that you came!",
    "I am so happy that you came!",
    "Leave me alone.",
    "",
    "The tablecloth is lying on the fridge, and nobody knows since when it has been there.",
    "   ",
    "Leave you alone.",
    "Übermorgen, café, 東京 🙂",
    "no",
]

_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 120,
}
_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_ROBERTA = _SIZE | _IDS
_NARROW = _SIZE | {"embedding_size": 16}
_RELATIVE = _SIZE | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}

# Name -> the stem of transformers' classes, settings, and the tokenizer.
TEXT_NETWORKS = {
    "bert": ("Bert", _SIZE, "wordpiece"),
    "distilbert": (
        "DistilBert",
        {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 120},
        "wordpiece",
    ),
    "roberta": ("Roberta", _ROBERTA, "bpe"),
    "xlm-roberta": ("XLMRoberta", _ROBERTA, "unigram"),
    "camembert": ("Camembert", _ROBERTA, "unigram"),
    "mpnet": ("MPNet", _ROBERTA, "wordpiece"),
    "albert": ("Albert", _NARROW, "unigram"),
    "electra": ("Electra", _NARROW, "wordpiece"),
    "deberta": ("Deberta", _RELATIVE, "bpe"),
    "deberta-v3": (
        "DebertaV2",
        _RELATIVE
        | {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
        | {"position_biased_input": False, "type_vocab_size": 0},
        "unigram",
    ),
    "deberta-v2": ("DebertaV2", _RELATIVE | {"conv_kernel_size": 3}, "unigram"),
    "modernbert": (
        "ModernBert",
        _SIZE | {"local_attention": 8, "cls_token_id": 0, "sep_token_id": 2},
        "bpe",
    ),
    "fnet": ("FNet", _SIZE, "unigram"),
    "roberta-prelayernorm": ("RobertaPreLayerNorm", _ROBERTA, "bpe"),
    "convbert": ("ConvBert", _SIZE | {"embedding_size": 32}, "wordpiece"),
}
_SPECIAL = {
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "bpe": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "unigram": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}


def make_tokenizer(kind):
    """Train a small tokenizer on the sentences above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import BertTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

    special = _SPECIAL[kind]
    if kind == "wordpiece":
        small = {letter for text in SENTENCES for letter in text.lower() if letter.isascii()}
        pieces = sorted({*small, "happy", "the", "you", "##ing", "##e", "##c", "##loth"} - {" "})
        vocabulary = {piece: number for number, piece in enumerate([*special, *pieces])}
        return BertTokenizer(vocab=vocabulary, model_max_length=64)
    if kind == "bpe":
        trained = Tokenizer(models.BPE())
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trained.train_from_iterator(
            SENTENCES,
            trainers.BpeTrainer(
                vocab_size=300,
                special_tokens=special,
                initial_alphabet=alphabet,
                show_progress=False,
            ),
        )
        model = _model_of(trained)
        merges = [tuple(merge) for merge in model["merges"]]
        return RobertaTokenizer(vocab=model["vocab"], merges=merges)
    # Not trained, since that gives other pieces each time: each letter, and some words.
    letters = sorted({letter for text in SENTENCES for letter in text if letter.isascii()} - {" "})
    pieces = ["▁", "▁happy", "▁the", "▁you", *letters, "ing", "one"]
    scores = [(piece, 0.0) for piece in special] + [(p, -4.0 + len(p) / 2) for p in pieces]
    trained = Tokenizer(models.Unigram(scores, unk_id=3))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    trained.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=trained, mask_token="<mask>", **names)


def _model_of(tokenizer):
    import json

    return json.loads(tokenizer.to_str())["model"]


def make_text_network(name, head="Model", **settings):
    """Build one of the small networks, always with the same weights."""
    import torch
    import transformers

    stem, own, kind = TEXT_NETWORKS[name]
    n_tokens = len(make_tokenizer(kind))
    special = {"pad_token_id": 0} if kind == "wordpiece" else _IDS
    network_class = getattr(transformers, f"{stem}{head}")
    config = network_class.config_class(**({"vocab_size": n_tokens} | special | own | settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network_class(config).eval()


def save_text_network(network, folder, kind):
    """Save a network with its tokenizer, as on the hub."""
    network.save_pretrained(folder)
    make_tokenizer(kind).save_pretrained(folder)
    return str(folder)


def small_text_network(name, *, later=False):
    """Return the folder of a small network; the same in each process, made where it is missing."""
    kind = TEXT_NETWORKS[name][2]
    return saved_once(
        (TEXT_NETWORKS, SENTENCES),
        name,
        lambda folder: save_text_network(make_text_network(name), folder, kind),
        later=later,
    )
