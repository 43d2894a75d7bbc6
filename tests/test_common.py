"""scikit-learn's battery, strict, the checks it leaves out, and our own for recordings."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as sklearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ser import (
    CodecEmbedder,
    HubertEmbedder,
    LayerSelector,
    LogMelSpectrogram,
    WavLMEmbedder,
    WhisperEmbedder,
)
from sklearn_ser.estimator_checks import parametrize_with_recording_checks
from small_codecs import small_codec
from small_networks import small_network

TWO_AXES = [
    LogMelSpectrogram(pooling="mean", n_mels=20),
    LogMelSpectrogram(pooling="mean_std_delta", n_mels=20, duration=None, normalize=None),
    WavLMEmbedder(small_network("wavlm")),
    HubertEmbedder(small_network("hubert-large"), layers=[0, 2], flatten=True, pooling="mean_std"),
    WhisperEmbedder(small_network("whisper"), layers=1, context="recording"),
    CodecEmbedder(small_codec("encodec-16khz"), n_quantizers=4),
    CodecEmbedder(small_codec("dac"), representation="latent", pooling="mean_std"),
]
# scikit-learn's generator runs on these too, but for the checks on columns.
THREE_AXES = [
    LogMelSpectrogram(n_mels=20, duration=0.1),
    WavLMEmbedder(small_network("wavlm-large"), layers="all"),
]
# Estimators over tables, which take no recordings. scikit-learn's own tables have columns of
# every number, so that they are one layer here; layers proper are in test_layer_selector.py.
TABLES = [
    LayerSelector(),
    LayerSelector([0]),
    LayerSelector(n_layers=1),
    LayerSelector("mean"),
    LayerSelector("weighted"),
    LayerSelector("best"),
]
PIPELINES = [
    make_pipeline(LogMelSpectrogram(pooling="mean_std", n_mels=20), LogisticRegression()),
    make_pipeline(
        WavLMEmbedder(small_network("wavlm"), layers="all"),
        LayerSelector("mean"),
        LogisticRegression(),
    ),
]

# What scikit-learn's generator leaves out.
LEFT_OUT = [
    sklearn_checks.check_param_validation,
    sklearn_checks.check_set_output_transform,
    sklearn_checks.check_set_output_transform_pandas,
    sklearn_checks.check_set_output_transform_polars,
    sklearn_checks.check_global_output_transform_pandas,
    sklearn_checks.check_global_set_output_transform_polars,
    sklearn_checks.check_transformer_get_feature_names_out,
    sklearn_checks.check_transformer_get_feature_names_out_pandas,
    sklearn_checks.check_dataframe_column_names_consistency,
]


@parametrize_with_checks(TWO_AXES + THREE_AXES + TABLES, xfail_strict=True)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", LEFT_OUT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", TWO_AXES + TABLES, ids=str)
def test_scikit_learn_checks_left_out(estimator, check):
    check(type(estimator).__name__, estimator)


@parametrize_with_recording_checks(TWO_AXES + THREE_AXES + PIPELINES)
def test_recordings(estimator, check):
    check(estimator)
