"""Speech emotion recognition as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_ser import datasets as datasets
    from sklearn_ser import distillation as distillation
    from sklearn_ser import estimator_checks as estimator_checks
    from sklearn_ser import inspection as inspection
    from sklearn_ser import metrics as metrics
    from sklearn_ser.audio import RecordingError as RecordingError
    from sklearn_ser.backbones import Codec as Codec
    from sklearn_ser.backbones import register_codec as register_codec
    from sklearn_ser.embedders import CodecEmbedder as CodecEmbedder
    from sklearn_ser.embedders import HubertEmbedder as HubertEmbedder
    from sklearn_ser.embedders import LogMelSpectrogram as LogMelSpectrogram
    from sklearn_ser.embedders import TextEmbedder as TextEmbedder
    from sklearn_ser.embedders import WavLMEmbedder as WavLMEmbedder
    from sklearn_ser.embedders import WhisperEmbedder as WhisperEmbedder
    from sklearn_ser.embedders import XVectorEmbedder as XVectorEmbedder
    from sklearn_ser.estimators import ConcordanceRegressor as ConcordanceRegressor
    from sklearn_ser.estimators import DistilledClassifier as DistilledClassifier
    from sklearn_ser.estimators import DistilledRegressor as DistilledRegressor
    from sklearn_ser.estimators import EmoHRNetClassifier as EmoHRNetClassifier
    from sklearn_ser.estimators import HyperbolicFusionClassifier as HyperbolicFusionClassifier
    from sklearn_ser.estimators import PretrainedEmotionClassifier as PretrainedEmotionClassifier
    from sklearn_ser.estimators import PretrainedEmotionRegressor as PretrainedEmotionRegressor
    from sklearn_ser.export import to_onnx as to_onnx
    from sklearn_ser.layers import LayerSelector as LayerSelector
    from sklearn_ser.speakers import SpeakerNormalizer as SpeakerNormalizer
    from sklearn_ser.store import EmbeddingStore as EmbeddingStore

__version__ = "0.1.0.dev0"

# Module of each public name. Names are imported on first use, so that `import sklearn_ser` is fast
# and does not import torch.
_MODULE_OF: dict[str, str] = {
    "Codec": "sklearn_ser.backbones",
    "CodecEmbedder": "sklearn_ser.embedders",
    "ConcordanceRegressor": "sklearn_ser.estimators",
    "DistilledClassifier": "sklearn_ser.estimators",
    "DistilledRegressor": "sklearn_ser.estimators",
    "EmbeddingStore": "sklearn_ser.store",
    "EmoHRNetClassifier": "sklearn_ser.estimators",
    "HyperbolicFusionClassifier": "sklearn_ser.estimators",
    "HubertEmbedder": "sklearn_ser.embedders",
    "LayerSelector": "sklearn_ser.layers",
    "LogMelSpectrogram": "sklearn_ser.embedders",
    "PretrainedEmotionClassifier": "sklearn_ser.estimators",
    "PretrainedEmotionRegressor": "sklearn_ser.estimators",
    "RecordingError": "sklearn_ser.audio",
    "SpeakerNormalizer": "sklearn_ser.speakers",
    "TextEmbedder": "sklearn_ser.embedders",
    "WavLMEmbedder": "sklearn_ser.embedders",
    "WhisperEmbedder": "sklearn_ser.embedders",
    "XVectorEmbedder": "sklearn_ser.embedders",
    "register_codec": "sklearn_ser.backbones",
    "to_onnx": "sklearn_ser.export",
}
_SUBPACKAGES = ("datasets", "distillation", "estimator_checks", "inspection", "metrics")

__all__ = sorted([*_MODULE_OF, *_SUBPACKAGES, "__version__"])


def __getattr__(name):
    if name in _SUBPACKAGES:
        return import_module(f"sklearn_ser.{name}")
    if name in _MODULE_OF:
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sklearn_ser' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
