"""Training on a GPU gives a model for any machine; skipped where there is none."""

import pickle

import numpy as np
import pytest
import torch

from sklearn_ser import EmoHRNetClassifier

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU at hand")


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


def test_global_states_of_the_gpu_are_left_alone(spectrograms):
    before = torch.cuda.get_rng_state()
    EmoHRNetClassifier(width=2, head_width=2, max_epochs=1, device="cuda").fit(*spectrograms)
    assert torch.equal(torch.cuda.get_rng_state(), before)
