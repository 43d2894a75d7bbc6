"""Shared code of the embedders that run frozen networks."""

import os
from contextlib import closing
from functools import partial
from numbers import Integral, Real

import numpy as np

from sklearn_ser._sklearn import HasMethods, Interval, StrOptions
from sklearn_ser.backbones import find_network
from sklearn_ser.layers import resolve_layers
from sklearn_ser.store import EmbeddingStore, as_store

from ._base import ResolvedTransform
from ._embedding import embed_recordings
from ._encoding import WindowPooler
from ._known_networks import recall_backbone
from ._progress import Progress

# Constraints of the parameters that all embedders of frozen networks have.
PRETRAINED_CONSTRAINTS: dict = {
    "model": [str, os.PathLike],
    "revision": [str, None],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": [str],
    "memory": [str, os.PathLike, HasMethods(["cache"]), EmbeddingStore, None],
    "on_error": [StrOptions({"raise", "nan"})],
    "local_files_only": ["boolean"],
    "verbose": ["verbose"],
}
PRECISION_CONSTRAINTS: dict = {"dtype": [StrOptions({"auto", "float32", "bfloat16", "float16"})]}
LAYER_CONSTRAINTS: dict = {
    "layers": [StrOptions({"last", "all"}), Integral, "array-like"],
    "flatten": ["boolean"],
}
# Constraints of parameters for recordings only.
FRAME_CONSTRAINTS: dict = {
    "pooling": [StrOptions({"mean", "mean_std", "max"}), callable],
    "window": [Interval(Real, 0, None, closed="neither"), None],
    "hop": [Interval(Real, 0, None, closed="neither"), None],
}
SPEECH_CONSTRAINTS: dict = {
    **PRETRAINED_CONSTRAINTS,
    **PRECISION_CONSTRAINTS,
    **LAYER_CONSTRAINTS,
    **FRAME_CONSTRAINTS,
}


def find_backbone(embedder, family, **settings):
    """Return the network of an embedder of recordings, which may be known from its store.

    Parameters
    ----------
    embedder : estimator
        Embedder with the parameters of `PRETRAINED_CONSTRAINTS`.
    family : {"wav2vec2", "whisper", "speech", "speaker", "head"}
        Family of the network, see `load_backbone`.
    **settings
        Additional arguments of the backbone's class.

    Returns
    -------
    backbone : AudioBackbone or KnownBackbone
    """
    checkpoint = find_network(
        embedder.model,
        family=family,
        revision=embedder.revision,
        local_files_only=embedder.local_files_only,
    )
    return recall_backbone(
        checkpoint,
        as_store(embedder.memory),
        family=family,
        device=embedder.device,
        dtype=embedder.dtype,
        **settings,
    )


def resolve_speech_encoder(embedder):
    """Return the computation of an embedder that selects layers of a speech encoder.

    Parameters
    ----------
    embedder : RecordingTransformer
        Embedder with the parameters of `SPEECH_CONSTRAINTS` and a method `_load_backbone()`.

    Returns
    -------
    resolved : ResolvedTransform
    """
    check_layers_not_empty(embedder.layers)
    return resolve_recording_embedder(
        embedder,
        partial(choose_layers, embedder),
        pooling=embedder.pooling,
        window=embedder.window,
        hop=embedder.hop,
    )


def choose_vector(backbone):
    """Return the settings of an embedder of a network with one vector per recording."""
    return {"layers": [0], "prefixes": [backbone.name]}


def resolve_recording_embedder(embedder, choose, *, pooling="mean", window=None, hop=None):
    """Return the computation of an embedder of recordings.

    Parameters
    ----------
    embedder : RecordingTransformer
        Embedder with the parameters of `PRETRAINED_CONSTRAINTS` and a method `_load_backbone()`.
    choose : callable
        Maps the backbone to the arguments `layers`, `prefixes` and so on of `resolve_embedder`.
    pooling, window, hop
        Parameters of `WindowPooler`.

    Returns
    -------
    resolved : ResolvedTransform

    Raises
    ------
    ValueError
        If the parameters are inconsistent, or not possible with the network.
    """
    as_store(embedder.memory)
    if hop is not None and window is None:
        raise ValueError(
            f"hop={hop} s has no effect with window=None: set window in seconds, or leave hop out."
        )
    if hop is not None and hop > window:
        raise ValueError(
            f"hop={hop} s is longer than window={window} s, so that parts of a recording would "
            "be skipped: lower hop."
        )
    # Raises an error for a missing model before any recording is read, and for a missing extra if
    # the network is not known from the store.
    backbone = embedder._load_backbone()
    _check_window(window, backbone, embedder.model)
    pooler = WindowPooler(
        backbone, pooling=pooling, window=window, hop=hop, batch_size=embedder.batch_size
    )
    embed = partial(
        embed_recordings,
        sampling_rate=embedder.sampling_rate,
        channel=embedder.channel,
        n_jobs=embedder.n_jobs,
    )
    return resolve_embedder(embedder, pooler, embed, unit="recordings", **choose(backbone))


def _check_window(window, backbone, model):
    longest, rate = backbone.max_samples, backbone.sampling_rate
    if longest is not None and (window or np.inf) * rate > longest:
        raise ValueError(
            f"window={window} is too long for {model!r}, which takes at most {longest / rate:g} s."
        )
    shortest = (backbone.min_samples + (backbone.stride or 0)) / rate
    if window is not None and window < shortest:
        raise ValueError(
            f"window={window} s is too short for {model!r}, which needs at least {shortest:g} s; "
            "some seconds are usual."
        )


def resolve_embedder(
    embedder, pooler, embed, *, unit, layers, prefixes, last_layer=None, has_layer_axis=False
):
    """Return the computation of an embedder of some layers of a network.

    Parameters
    ----------
    embedder : estimator
        Embedder with the parameters of `PRETRAINED_CONSTRAINTS`.
    pooler : WindowPooler or TokenPooler
        The network and its pooling.
    embed : callable
        `embed_recordings` or `embed_transcripts`.
    unit : str
        What the progress bar counts: "recordings" or "transcripts".
    layers : list of int
        Layers to return, numbered from 0.
    prefixes : list of str
        Prefix of the column names of each layer.
    last_layer : int, default=None
        The last layer to compute and cache. If None, the deepest of `layers`.
    has_layer_axis : bool, default=False
        Whether layers are returned along a separate axis.

    Returns
    -------
    resolved : ResolvedTransform
    """

    def compute(inputs, report=None):
        name = type(embedder).__name__
        with closing(Progress(name, unit, embedder.verbose, report)) as progress:
            rows = embed(
                inputs,
                pooler,
                layers=layers,
                last_layer=max(layers) if last_layer is None else last_layer,
                store=as_store(embedder.memory),
                on_error=embedder.on_error,
                progress=progress,
            )
        return rows if has_layer_axis else rows.reshape(len(rows), -1)

    def name_columns():
        return [f"{prefix}_{column}" for prefix in prefixes for column in pooler.column_names()]

    return ResolvedTransform(
        compute,
        None if has_layer_axis else name_columns,
        "Set flatten=True to concatenate the layers in one row, or choose a single layer",
    )


def check_layers_not_empty(layers):
    """Raise an error if the list of layers is empty."""
    if not isinstance(layers, str) and not np.size(layers):
        raise ValueError("layers is empty: name a layer, or pass 'all' or 'last'.")


def choose_layers(embedder, backbone):
    """Resolve the layers of an embedder to indices and column prefixes.

    Parameters
    ----------
    embedder : estimator
        Embedder with the parameters of `LAYER_CONSTRAINTS`.
    backbone : Backbone
        The network.

    Returns
    -------
    chosen : dict
        Arguments `layers`, `prefixes` and `has_layer_axis` of `resolve_embedder`.
    """
    requested, n_layers = embedder.layers, backbone.n_layers
    if isinstance(requested, str):
        layers = list(range(n_layers)) if requested == "all" else [n_layers - 1]
        is_single = requested == "last"
    else:
        layers = resolve_layers(
            requested,
            n_layers,
            parameter="layers",
            explain=lambda layer: ValueError(
                f"layers={requested!r} contains {layer!r}, and the network has layers 0 (the input "
                f"of the first block) to {n_layers - 1}; negative numbers count from the last "
                "layer. 'all' and 'last' are also possible."
            ),
        )
        is_single = isinstance(requested, Integral)
    return {
        "layers": layers,
        "prefixes": [f"{backbone.name}_layer{layer:02d}" for layer in layers],
        "has_layer_axis": not (embedder.flatten or is_single),
    }
