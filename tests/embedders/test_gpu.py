"""Results on a GPU equal those on the CPU; skipped without a GPU."""

import numpy as np
import pytest

from sklearn_ser import HubertEmbedder, WavLMEmbedder, WhisperEmbedder
from small_networks import small_network

pytestmark = pytest.mark.gpu

EMBEDDERS = [
    WavLMEmbedder(small_network("wavlm", later=True), layers="all"),
    WavLMEmbedder(small_network("wavlm-large", later=True), layers="all"),
    HubertEmbedder(small_network("hubert", later=True), layers="all"),
    HubertEmbedder(small_network("data2vec", later=True), layers="all"),
    WhisperEmbedder(small_network("whisper", later=True), layers="all"),
    WhisperEmbedder(small_network("whisper", later=True), layers="all", context="recording"),
]


def _recordings():
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (400, 9000, 48000, 20000)]


def _distance(rows, reference):
    return (np.linalg.norm(rows - reference, axis=-1) / np.linalg.norm(reference, axis=-1)).max()


@pytest.mark.parametrize("embedder", EMBEDDERS, ids=str)
def test_batches_are_exact(embedder):
    recordings = _recordings()
    together = embedder.set_params(device="cuda").fit_transform(recordings)
    alone = np.concatenate([embedder.transform([recording]) for recording in recordings])
    assert _distance(together, alone) <= 1e-5


@pytest.mark.parametrize("embedder", EMBEDDERS, ids=str)
def test_the_gpu_agrees_with_the_cpu(embedder):
    recordings = _recordings()
    on_cpu = embedder.set_params(device="cpu").fit_transform(recordings)
    on_gpu = embedder.set_params(device="cuda").fit_transform(recordings)
    assert _distance(on_gpu, on_cpu) <= 1e-4


def test_auto_takes_the_gpu():
    assert WavLMEmbedder(small_network("wavlm"))._load_backbone().device == "cuda"
