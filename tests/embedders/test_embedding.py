"""embed_recordings: reading, computing and caching."""

import numpy as np
import pytest
import torch

from sklearn_ser import EmbeddingStore, RecordingError
from sklearn_ser.backbones import AudioBackbone
from sklearn_ser.backbones._checkpoint import Checkpoint
from sklearn_ser.embedders._embedding import embed_recordings
from sklearn_ser.embedders._encoding import WindowPooler
from sklearn_ser.embedders._progress import Progress
from sklearn_ser.embedders._stored_layers import open_stored_layers
from sklearn_ser.store import content_key


class Scaled(AudioBackbone):
    """A single vector per recording; layer k is its mean times k + 1."""

    name, sampling_rate, n_layers, n_dims = "scaled", 16000, 3, 1

    def __init__(self, fingerprint=(), context=None):
        super().__init__(Checkpoint("scaled", None, ()), device="cpu", dtype=torch.float32)
        self.fingerprint, self.context, self.seen = fingerprint, context, []

    def encode(self, inputs, last_layer):
        self.seen.append((len(inputs), last_layer))
        means = torch.tensor([[[own.mean()]] for own in inputs])
        yield from (means * (layer + 1) for layer in range(last_layer + 1))


def _pooler(backbone, pooling="mean"):
    return WindowPooler(backbone, pooling=pooling, window=None, hop=None, batch_size=8)


def _embed(recordings, backbone, store=None, *, layers=(0,), last_layer=None, on_error="raise"):
    progress = Progress("Embedder", "recordings", verbose=False)
    rows = embed_recordings(
        recordings,
        _pooler(backbone),
        layers=list(layers),
        last_layer=max(layers) if last_layer is None else last_layer,
        store=store,
        sampling_rate=16000,
        channel=None,
        on_error=on_error,
        n_jobs=None,
        progress=progress,
    )
    return rows, progress


def _constants(*values):
    return [np.full(1600, value, dtype=np.float32) for value in values]


def test_order_of_layers():
    rows, progress = _embed(_constants(0.5, 0.25), Scaled(), layers=[2, 0])
    np.testing.assert_allclose(rows[..., 0], [[1.5, 0.5], [0.75, 0.25]])
    assert progress.total == progress.n_done == 2


def test_equal_recordings_are_embedded_once_with_a_cache(tmp_path):
    backbone = Scaled()
    recordings = _constants(0.5, 0.25, 0.5)
    _embed(recordings, backbone)
    assert backbone.seen == [(3, 0)]
    rows, _ = _embed(recordings, backbone, EmbeddingStore(tmp_path))
    assert backbone.seen == [(3, 0), (2, 0)]
    np.testing.assert_allclose(rows[:, 0, 0], [0.5, 0.25, 0.5])


@pytest.mark.parametrize(
    "forged",
    [
        np.float32(0.5),
        np.zeros(3),
        np.zeros((3, 2)),
        np.zeros((3, 1, 1)),
        np.full((3, 1), np.nan),
        [[0.0], [0.0], [np.inf]],
    ],
    ids=["0-d", "1-d", "wide", "3-d", "NaN", "infinity"],
)
def test_an_entry_that_no_network_gave_is_damaged_and_replaced(forged, tmp_path):
    backbone, store = Scaled(), EmbeddingStore(tmp_path)
    stored = open_stored_layers(store, _pooler(backbone), 2)
    key = content_key(_constants(0.5)[0])
    store.save(stored.namespace, {key: np.asarray(forged)})
    with pytest.warns(UserWarning, match="1 of the embeddings kept in .* are damaged"):
        rows, _ = _embed(_constants(0.5), backbone, store, layers=[0, 2])
    np.testing.assert_allclose(rows[0, :, 0], [0.5, 1.5])
    rows, _ = _embed(_constants(0.5), backbone, store, layers=[0, 2])
    np.testing.assert_allclose(rows[0, :, 0], [0.5, 1.5])
    assert backbone.seen == [(1, 2)]


def test_missing_deeper_layers_are_recomputed(tmp_path):
    backbone, store = Scaled(), EmbeddingStore(tmp_path)
    for layers, last_layer in (([0], 1), ([1], None), ([2], None), ([0, 2], None)):
        _embed(_constants(0.5), backbone, store, layers=layers, last_layer=last_layer)
    assert backbone.seen == [(1, 1), (1, 2)]


def test_non_finite_output_names_the_recording_and_is_not_cached(tmp_path):
    class Broken(Scaled):
        def encode(self, inputs, last_layer):
            yield torch.tensor([[[torch.nan if own[0] > 0.4 else own[0]]] for own in inputs])

    store = EmbeddingStore(tmp_path)
    with pytest.raises(RecordingError, match=r"Recording 1: .*not finite.*reach 0\.5.*is damaged"):
        _embed(_constants(0.25, 0.5), Broken(), store)
    with pytest.warns(UserWarning, match="Recording 1"):
        rows, _ = _embed(_constants(0.25, 0.5), Broken(), store, on_error="nan")
    np.testing.assert_array_equal(np.isnan(rows).ravel(), [False, True])
    assert len(store) == 1


@pytest.mark.parametrize(
    "other", [Scaled(fingerprint=[len]), Scaled(fingerprint=["a"]), Scaled(context="30s")]
)
def test_fingerprint_and_context_are_part_of_the_cache_key(other, tmp_path):
    store = EmbeddingStore(tmp_path)
    keys = [
        open_stored_layers(store, _pooler(backbone), 0).namespace
        for backbone in (Scaled(), Scaled(), other)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_no_cache_without_a_store():
    assert open_stored_layers(None, _pooler(Scaled()), 0) is None
