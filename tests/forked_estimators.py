"""Run every estimator that computes by torch, and again in a forked process.

A module of its own, so that a test can run it by a new Python with two threads: the tests' own
processes may have one, and nothing that is tested here happens with one.
"""

import sys
import warnings
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

TIMEOUT = 60  # seconds for an estimator that takes less than one


def make_calls(folder):
    """Return a function without arguments for each estimator, which returns arrays."""
    from sklearn_ser import (
        CodecEmbedder,
        ConcordanceRegressor,
        DistilledClassifier,
        DistilledRegressor,
        EmoHRNetClassifier,
        HubertEmbedder,
        HyperbolicFusionClassifier,
        PretrainedEmotionClassifier,
        PretrainedEmotionRegressor,
        TextEmbedder,
        WavLMEmbedder,
        WhisperEmbedder,
        XVectorEmbedder,
    )
    from small_codecs import small_codec
    from small_networks import small_network
    from small_speaker_networks import save_ge2e
    from small_text_networks import small_text_network

    rng = np.random.default_rng(0)
    recordings = list(rng.uniform(-0.5, 0.5, (4, 16000)).astype(np.float32))
    texts = ["leave me alone " * 20] * 30
    table = rng.standard_normal((300, 300))
    spectrograms = rng.standard_normal((16, 40, 64))
    codes, numbers = np.arange(300) % 2, table[:, :2]
    embedders = [
        WavLMEmbedder(small_network("wavlm")),
        HubertEmbedder(small_network("hubert-large")),
        WhisperEmbedder(small_network("whisper")),
        XVectorEmbedder(save_ge2e(Path(folder) / "ge2e.pt")),
        XVectorEmbedder(small_network("wavlm-sv")),
        CodecEmbedder(small_codec("encodec")),
        CodecEmbedder(small_codec("mimi")),
    ]
    published = [
        PretrainedEmotionClassifier(small_network("hubert-er")),
        PretrainedEmotionRegressor(small_network("wavlm-dim")),
    ]
    once = {"max_epochs": 1, "random_state": 0}
    distilled = {"audio_model": small_network("wavlm-short"), "freeze": None} | once
    trained = [
        (EmoHRNetClassifier(width=8, head_width=8, **once), spectrograms, codes[:16]),
        (HyperbolicFusionClassifier(blocks=[200, 100]), table, codes),
        (HyperbolicFusionClassifier([200, 100], branch="mlp", **once), table, codes),
        (HyperbolicFusionClassifier([200, 100], head="mlr", branch="conv", **once), table, codes),
        (ConcordanceRegressor(**once), table, numbers),
        (DistilledClassifier(**distilled), recordings, codes[:4]),
        (DistilledRegressor(**distilled), recordings, numbers[:4]),
    ]
    return (
        [(e, lambda e=e: e.transform(recordings)) for e in embedders]
        + [(e := TextEmbedder(small_text_network("roberta")), lambda: e.transform(texts))]
        + [(p, lambda p=p: p.predict(recordings)) for p in published]
        + [(t, lambda t=t, X=X, y=y: t.fit(X, y).predict(X)) for t, X, y in trained]
    )


def main():
    """Exit with a message if an estimator does not return the same in a forked process."""
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder:
        calls = make_calls(folder)
        expected = [call() for _, call in calls]
        receiver, sender = get_context("fork").Pipe(duplex=False)
        child = get_context("fork").Process(target=_send_outputs, args=(calls, sender))
        child.start()
        sender.close()  # so that receiving fails if the child ends
        for (estimator, _), outputs in zip(calls, expected, strict=True):
            if not receiver.poll(TIMEOUT):
                child.kill()
                sys.exit(f"hangs in a forked process: {estimator!r}")
            _assert_equal(receiver.recv(), outputs, estimator)
        child.join()
    print(f"{len(calls)} estimators")


def _send_outputs(calls, sender):
    for _, call in calls:
        sender.send(call())


def _assert_equal(received, outputs, estimator):
    if outputs.dtype.kind == "f":
        # Sums over one thread round otherwise than over two, and training amplifies it.
        np.testing.assert_allclose(received, outputs, rtol=1e-3, atol=1e-4, err_msg=repr(estimator))
    else:
        assert np.mean(received == outputs) > 0.95, estimator


if __name__ == "__main__":
    main()
