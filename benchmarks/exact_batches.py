"""Compare batches of 25 ms to 20 s with single recordings in transformers, with real architectures.

python -m benchmarks.exact_batches [--whisper path/to/whisper-base-encoder]
"""

import argparse
import tempfile
import warnings

import numpy as np
import torch
import transformers
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sklearn_ser import HubertEmbedder, WavLMEmbedder, WhisperEmbedder

from ._bench import RATE
from ._transformers import embed_alone, embed_padded, hidden_states, pool

SECONDS = (0.025, 0.1, 0.4, 1.0, 2.5, 5.0, 10.0, 20.0)
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
# Name -> class of transformers, differences from its default configuration, and our class.
NETWORKS = {
    "WavLM base": ("WavLMModel", {}, WavLMEmbedder),
    "WavLM large": ("WavLMModel", LARGE, WavLMEmbedder),
    "HuBERT base": ("HubertModel", {}, HubertEmbedder),
    "wav2vec 2.0 base": ("Wav2Vec2Model", {}, HubertEmbedder),
    "data2vec-audio base": ("Data2VecAudioModel", {}, HubertEmbedder),
}


def recordings():
    """Generate noise of each duration at random levels."""
    rng = np.random.default_rng(0)
    return [
        (rng.uniform(0.01, 0.3) * rng.standard_normal(round(s * RATE))).astype(np.float32)
        for s in SECONDS
    ]


def worst(rows, reference):
    """Return the largest relative distance over recordings and layers."""
    distance = np.linalg.norm(rows - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
    return distance.max()


def compare(name, class_name, settings, embedder_class):
    """Print the distances of our batch and of a padded batch to single recordings."""
    torch.manual_seed(0)
    network_class = getattr(transformers, class_name)
    network = network_class(network_class.config_class(**settings)).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        extractor.save_pretrained(folder)
        embedder = embedder_class(folder, layers="all", batch_size=100, local_files_only=True)
        rows = embedder.fit_transform(recordings())
    prepared = [extractor(w, sampling_rate=RATE)["input_values"][0] for w in recordings()]
    alone = embed_alone(network, prepared)
    print(
        f"{name:20} {worst(rows, alone):.1e}; transformers, padded with a mask "
        f"{worst(embed_padded(network, prepared), alone):.1e}",
        flush=True,
    )


def compare_whisper(folder):
    """Print the distance of our batch to single recordings, with real weights."""
    encoder = WhisperEncoder.from_pretrained(folder, dtype=torch.float32)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    rows = WhisperEmbedder(folder, layers="all", batch_size=100).fit_transform(recordings())
    alone = []
    for waveform in recordings():
        features = extractor(waveform, sampling_rate=RATE, return_tensors="pt")["input_features"]
        n_frames = -(-(len(waveform) // 160) // 2)
        layers = hidden_states(encoder, features)
        alone.append(pool(layers, 0, n_frames))
    print(f"{'Whisper base (real)':20} {worst(rows, np.stack(alone)):.1e}")


def main():
    """Run the comparison for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whisper", help="folder of Whisper base or of its encoder")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    print("largest relative distance of a recording's pooled layer from transformers alone")
    for name, network in NETWORKS.items():
        compare(name, *network)
    if arguments.whisper:
        compare_whisper(arguments.whisper)


if __name__ == "__main__":
    main()
