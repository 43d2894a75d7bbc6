"""Small random networks in place of published ones, for the code in the documentation.

They have the numbers of layers and dimensions of the published ones, so that shapes are theirs.
"""

from pathlib import Path

from small_networks import save_network, saved_once
from small_speaker_networks import save_speechbrain
from small_text_networks import make_text_network, save_text_network

_FAMILY = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 16,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 48,
}
_SMALL = _FAMILY | {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_conv_pos_embedding_groups": 4,
}
_HALF_DECODER = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
_EMOTIONS = {"id2label": {0: "neu", 1: "hap", 2: "ang", 3: "sad"}}
_DIMENSIONS = {"id2label": {0: "arousal", 1: "dominance", 2: "valence"}}
_CODEBOOK = {"codebook_size": 64}
# Hub id -> transformers' class, and its settings.
NETWORKS = {
    "microsoft/wavlm-base-plus": ("WavLMModel", _FAMILY | {"num_hidden_layers": 12}),
    "microsoft/wavlm-base-plus-sv": ("WavLMForXVector", _SMALL | {"xvector_output_dim": 512}),
    "ntu-spml/distilhubert": ("HubertModel", _FAMILY | {"num_hidden_layers": 2}),
    "openai/whisper-base": (
        "WhisperModel",
        {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 16}
        | _HALF_DECODER,
    ),
    "superb/hubert-large-superb-er": ("HubertForSequenceClassification", _SMALL | _EMOTIONS),
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": (
        "Wav2Vec2ForSequenceClassification",
        _SMALL | _DIMENSIONS | {"problem_type": "regression"},
    ),
    "facebook/encodec_24khz": ("EncodecModel", {"num_filters": 4, "hidden_size": 128} | _CODEBOOK),
    "kyutai/mimi": (
        "MimiModel",
        {"num_filters": 4, "num_hidden_layers": 1, "intermediate_size": 16} | _CODEBOOK,
    ),
}
TEXT_NETWORKS = {
    "distilbert/distilbert-base-uncased": (
        "distilbert",
        {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 16},
    ),
    "FacebookAI/roberta-base": (
        "roberta",
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 16,
        },
    ),
}
# Number of dimensions of SpeechBrain's speaker encoders.
SPEECHBRAIN = {
    "speechbrain/spkrec-xvect-voxceleb": ("xvector", 512),
    "speechbrain/spkrec-ecapa-voxceleb": ("ecapa", 192),
}


def _save(name, folder):
    """Save a network as on the hub."""
    import torch
    import transformers

    if name in SPEECHBRAIN:
        stem, n_dims = SPEECHBRAIN[name]
        return save_speechbrain(stem, folder, n_dims)
    if name in TEXT_NETWORKS:
        stem, settings = TEXT_NETWORKS[name]
        kind = "wordpiece" if stem == "distilbert" else "bpe"
        return save_text_network(make_text_network(stem, **settings), folder, kind)
    class_name, settings = NETWORKS[name]
    network_class = getattr(transformers, class_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = network_class(network_class.config_class(**settings)).eval()
    if class_name in ("EncodecModel", "MimiModel"):
        return network.save_pretrained(folder)
    return save_network(network, folder, None if class_name == "WhisperModel" else False)


def snapshot_download(name, **options):
    """Return the folder of a stand-in, in place of the hub's function of this name."""
    definitions = (NETWORKS, TEXT_NETWORKS, SPEECHBRAIN)
    home = f"stand-in-{name.replace('/', '-')}"
    return saved_once(definitions, home, lambda folder: _save(name, Path(folder)))
