"""Small codecs of the real architectures, with random weights, saved as on the hub.

Codewords are drawn at the scale of what each stage has to quantise, so that it has a choice.
"""

import json

from small_networks import saved_once

_CODEBOOK = {"codebook_size": 64}
CODECS = {
    "encodec": (
        "EncodecModel",
        {"num_filters": 4, "hidden_size": 16, **_CODEBOOK},
    ),
    # Not on the hub: for checks that resample to 16 kHz, of which no codec must do so again.
    "encodec-16khz": (
        "EncodecModel",
        {
            "num_filters": 4,
            "hidden_size": 16,
            "sampling_rate": 16000,
            "target_bandwidths": [2.4],
            **_CODEBOOK,
        },
    ),
    "encodec-48khz": (
        "EncodecModel",
        {
            "num_filters": 4,
            "hidden_size": 16,
            "sampling_rate": 48000,
            "audio_channels": 2,
            "normalize": True,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "norm_type": "time_group_norm",
            "use_causal_conv": False,
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
            **_CODEBOOK,
        },
    ),
    "dac": (
        "DacModel",
        {
            "encoder_hidden_size": 4,
            "downsampling_ratios": [2, 4, 5, 8],
            "decoder_hidden_size": 16,
            "n_codebooks": 4,
            "codebook_dim": 4,
            **_CODEBOOK,
        },
    ),
    "mimi": (
        "MimiModel",
        {
            "hidden_size": 16,
            "num_filters": 4,
            "codebook_dim": 8,
            "num_quantizers": 5,
            "vector_quantization_hidden_dimension": 8,
            "upsample_groups": 16,
            "num_hidden_layers": 2,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "sliding_window": 10,
            **_CODEBOOK,
        },
    ),
}
SNAC = {
    "sampling_rate": 24000,
    "encoder_dim": 4,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 16,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 64,
    "codebook_dim": 4,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}


def make_codec(name):
    """Build one of transformers' small codecs, always with the same weights."""
    import torch
    import transformers

    class_name, settings = CODECS[name]
    codec_class = getattr(transformers, class_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = codec_class(codec_class.config_class(**settings)).eval()
        if name == "dac":  # transformers draws weights so small that latents vanish
            codec.apply(lambda part: hasattr(part, "bias") and part.reset_parameters())
        else:
            _draw_codewords(codec, name)
    return codec


def make_snac():
    """Build a small SNAC, always with the same weights."""
    import snac
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return snac.SNAC(**SNAC).eval()


def _draw_codewords(codec, name):
    """Give codebooks that are all zero codewords of the size of what each stage is to quantise."""
    import torch

    noise = 0.1 * torch.randn(1, codec.config.audio_channels, 24000)
    with torch.no_grad():
        if name == "mimi":
            latents = codec.encoder(noise).latents
            quantizers = (
                codec.quantizer.semantic_residual_vector_quantizer,
                codec.quantizer.acoustic_residual_vector_quantizer,
            )
        else:
            latents = codec.encoder(noise)
            quantizers = (codec.quantizer,)
        for quantizer in quantizers:
            left = latents if name != "mimi" else quantizer.input_proj(latents)
            for stage in quantizer.layers:
                book = stage.codebook.embed_sum if name == "mimi" else stage.codebook.embed
                size = left.std(dim=(0, 2))
                book.copy_(left.mean(dim=(0, 2)) + size * torch.randn(book.shape))
                left = left - stage.decode(stage.encode(left))


def save_codec(name, folder):
    """Save one of transformers' small codecs as on the hub."""
    make_codec(name).save_pretrained(folder)


def save_snac(folder):
    """Save a small SNAC as on the hub."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SNAC))
    torch.save(make_snac().state_dict(), folder / "pytorch_model.bin")


def small_codec(name, *, later=False):
    """Return the folder of a small codec; the same in each process, made where it is missing."""
    return saved_once(CODECS, name, lambda folder: save_codec(name, folder), later=later)
