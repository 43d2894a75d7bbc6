"""Configurations of transformers, from settings that are checked first."""

import re

from sklearn_ser.audio import SAMPLING_RATES

from ._checkpoint import CheckpointError
from ._transformers import import_transformers

# Settings that say how to compute, and not what: some name code to download.
_IGNORED = {
    *("attn_implementation", "_attn_implementation", "_attn_implementation_internal"),
    *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
    *("auto_map", "distributed_config", "fusion_config", "kernel_config", "use_kernels"),
}
# Names of settings that are numbers of parts. transformers makes lists of as many.
_COUNTS = re.compile(r"(layers|labels|blocks|quantizers|codebooks)$")
_MAX_COUNT = 100_000
# Limits of the settings of feature extractors, which compute filter banks of these sizes.
_PREPROCESSING_LIMITS = {
    "sampling_rate": SAMPLING_RATES,
    "feature_size": (1, 1024),
    "n_fft": (1, 16384),
    "hop_length": (1, 16384),
    "chunk_length": (1, 3600),
}


def make_config(checkpoint, config_class=None):
    """Return the configuration of a network of transformers.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint with a ``config.json``.
    config_class : type, default=None
        Configuration class of transformers. If None, that of the model type.

    Returns
    -------
    config : transformers.PretrainedConfig

    Raises
    ------
    CheckpointError
        If the settings are not possible.
    """
    if config_class is None:
        known = import_transformers().models.auto.configuration_auto.CONFIG_MAPPING
        config_class = known[checkpoint.model_type]
    settings = _checked(checkpoint.config, checkpoint)
    try:
        return config_class.from_dict(settings)
    except Exception as error:  # of transformers, for settings that it does not expect
        raise unusable_error(checkpoint, error) from error


def unusable_error(checkpoint, error):
    """Return an error for settings from which a library builds no network, with its reason.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint.
    error : Exception
        Error of the library.

    Returns
    -------
    error : CheckpointError
    """
    name = next(iter(checkpoint.layout.settings), "file")
    return CheckpointError(
        f"The {name} of {checkpoint.label} describes no network that can be built "
        f"({type(error).__name__}: {error}). Download the model again."
    )


def _checked(settings, checkpoint):
    """Return a copy of settings without those that say how to compute."""
    if settings.get("quantization_config"):
        raise CheckpointError(
            f"{checkpoint.label} is quantised (quantization_config in its config.json), which is "
            "not supported. Choose a model with float weights."
        )
    for name, value in settings.items():
        if _COUNTS.search(name) and isinstance(value, int) and value > _MAX_COUNT:
            raise CheckpointError(
                f"The config.json of {checkpoint.label} has {name}={value}, which can't be right. "
                "Download the model again."
            )
    return {
        name: _checked(value, checkpoint) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in _IGNORED
    }


def make_extractor(checkpoint, extractor_class, default):
    """Return the feature extractor of a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint.
    extractor_class : type
        Feature extractor class of transformers.
    default : dict
        Settings if the checkpoint has none.

    Returns
    -------
    extractor : transformers.SequenceFeatureExtractor

    Raises
    ------
    CheckpointError
        If the settings are not possible.
    """
    settings = checkpoint.preprocessing
    settings = default if settings is None else settings
    for name, (low, high) in _PREPROCESSING_LIMITS.items():
        value = settings.get(name, low)
        if type(value) is not int or not low <= value <= high:
            raise CheckpointError(
                f"The preprocessor_config.json of {checkpoint.label} has {name}={value!r}; an "
                f"integer from {low} to {high} is expected. Download the model again."
            )
    return extractor_class.from_dict(dict(settings))
