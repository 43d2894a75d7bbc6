"""Models trained on a GPU predict on any machine; skipped without a GPU."""

import pickle

import numpy as np
import pytest
import torch

from sklearn_ser import (
    DistilledClassifier,
    DistilledRegressor,
    EmoHRNetClassifier,
    HyperbolicFusionClassifier,
)
from small_networks import small_network

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_model_of_the_gpu_predicts_alike_on_the_cpu(spectrograms, dtype):
    X, y = spectrograms
    classifier = EmoHRNetClassifier(
        width=2,
        head_width=2,
        noise=0.5,
        max_epochs=10,
        batch_size=16,
        learning_rate=1e-2,
        dtype=dtype,
        device="cuda",
        random_state=0,
    )
    fitted = classifier.fit(X, y)
    assert all(type(values) is np.ndarray for values in fitted.state_.values())
    assert fitted.score(X, y) >= 0.9
    loaded = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("head", ["softmax", "mlr"])
def test_a_fusion_of_the_gpu_predicts_alike_on_the_cpu(head):
    X, y = np.random.default_rng(0).normal(size=(60, 24)), np.arange(60) % 3
    X[np.arange(60), y] += 3
    classifier = HyperbolicFusionClassifier(
        [12, 12], branch="conv", head=head, device="cuda", random_state=0
    )
    fitted = classifier.fit(X, y)
    assert fitted.score(X, y) >= 0.9
    loaded = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("distilled", "method"),
    [(DistilledRegressor, "predict"), (DistilledClassifier, "predict_proba")],
)
def test_encoders_of_the_gpu_predict_alike_on_the_cpu(distilled, method, dtype):
    rng = np.random.default_rng(0)
    y = np.linspace(-1, 1, 24)
    recordings = [10**level * rng.normal(size=rng.integers(400, 8000)) for level in y]
    estimator = distilled(
        small_network("wavlm"), max_epochs=2, batch_size=8, dtype=dtype, device="cuda"
    ).set_params(random_state=0)
    fitted = estimator.fit(recordings, y if method == "predict" else y > 0)
    assert all(type(values) is np.ndarray for values in fitted.state_.values())
    loaded = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    expected = getattr(fitted, method)(recordings)
    np.testing.assert_allclose(getattr(loaded, method)(recordings), expected, atol=1e-3)


def test_global_states_of_the_gpu_are_left_alone(spectrograms):
    before = torch.cuda.get_rng_state()
    EmoHRNetClassifier(width=2, head_width=2, max_epochs=1, device="cuda").fit(*spectrograms)
    assert torch.equal(torch.cuda.get_rng_state(), before)
