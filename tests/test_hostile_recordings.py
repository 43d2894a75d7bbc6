"""Each embedder refuses what is no recording by name, and computes the others as if alone."""

import re
import warnings

import numpy as np
import pytest

from hostile_recordings import CASES, FLOATS, INPUTS
from sklearn_ser import (
    CodecEmbedder,
    HubertEmbedder,
    LogMelSpectrogram,
    PretrainedEmotionClassifier,
    PretrainedEmotionRegressor,
    RecordingError,
    WavLMEmbedder,
    WhisperEmbedder,
    XVectorEmbedder,
)
from small_codecs import small_codec
from small_networks import small_network

# Name -> a function that makes an embedder, which takes recordings, with keyword arguments.
EMBEDDERS = {
    "log-mel": lambda **kwargs: LogMelSpectrogram(pooling="mean", **kwargs),
    "wavlm": lambda **kwargs: WavLMEmbedder(small_network("wavlm"), **kwargs),
    "hubert": lambda **kwargs: HubertEmbedder(small_network("hubert-large"), **kwargs),
    "whisper": lambda **kwargs: WhisperEmbedder(small_network("whisper"), **kwargs),
    "xvector": lambda **kwargs: XVectorEmbedder(small_network("wavlm-sv"), **kwargs),
    "codec": lambda **kwargs: CodecEmbedder(small_codec("encodec"), **kwargs),
    "classifier": lambda **kwargs: PretrainedEmotionClassifier(
        small_network("hubert-er"), **kwargs
    ),
    "regressor": lambda **kwargs: PretrainedEmotionRegressor(small_network("wavlm-dim"), **kwargs),
}

REFUSED = [case for case in CASES if isinstance(case.outcome, str)]
USED = [case for case in CASES if not isinstance(case.outcome, str)]


def embed(name, X, **kwargs):
    """Return the rows of an embedder, and the reason by the position of each refused recording."""
    embedder = EMBEDDERS[name](**kwargs)
    method = {"classifier": "predict_proba", "regressor": "predict"}.get(name, "transform")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = getattr(embedder.fit(X), method)(X)
    listed = [str(w.message) for w in caught if "can't be used" in str(w.message)]
    parts = re.split(r"(?:: |; )recording (\d+): ", "".join(listed))
    return rows, dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("recording") for _ in CASES]
    return [case.make(folder) for case, folder in zip(CASES, folders, strict=True)]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_every_recording_has_its_outcome(name, recordings):
    rows, reasons = embed(name, recordings, on_error="nan")
    expected, _ = embed(name, [case.outcome for case in USED])
    expected = dict(zip([case.name for case in USED], expected, strict=True))
    for position, (case, row) in enumerate(zip(CASES, rows, strict=True)):
        if case.name in expected:
            assert position not in reasons, (case.name, reasons[position])
            error = np.linalg.norm(row - expected[case.name])
            assert error <= 1e-5 * np.linalg.norm(expected[case.name]), case.name
        else:
            assert re.search(case.outcome, reasons[position], re.DOTALL), case.name
            assert np.isnan(row).all(), case.name


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_errors_name_the_position(case, tmp_path):
    X = [FLOATS, case.make(tmp_path), FLOATS]
    with pytest.raises(RecordingError, match=f"(?s)Recording 1: .*{case.outcome}"):
        LogMelSpectrogram(pooling="mean").fit_transform(X)


@pytest.mark.parametrize("name", EMBEDDERS)
def test_what_is_no_list_of_recordings(name):
    for _, X, says in INPUTS:
        with pytest.raises((ValueError, TypeError), match=f"(?s){says}"):
            embed(name, X)


def test_the_table_is_large():
    assert len(REFUSED) > 120
    assert len({case.name for case in CASES}) == len(CASES)
