"""Rows of frozen networks: what the embedders over them share."""

import os
from functools import partial
from numbers import Integral, Real

import numpy as np

from sklearn_ser._sklearn import HasMethods, Interval, StrOptions
from sklearn_ser.layers import resolve_layers
from sklearn_ser.store import EmbeddingStore, as_store

from ._base import Rows
from ._embedding import embed_recordings
from ._encoding import WindowPooler

# Of the parameters that all embedders over frozen networks have.
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
PRECISION_CONSTRAINTS: dict = {"dtype": [StrOptions({"float32", "bfloat16", "float16"})]}
LAYER_CONSTRAINTS: dict = {
    "layers": [StrOptions({"last", "all"}), Integral, "array-like"],
    "flatten": ["boolean"],
}
# Of those over recordings alone.
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
    """Find the network of an embedder over recordings.

    Parameters
    ----------
    embedder : estimator
        With the parameters of `PRETRAINED_CONSTRAINTS`.
    family : str
        As for `load_backbone`.
    **settings
        What else the family takes.

    Returns
    -------
    backbone : AudioBackbone
    """
    from sklearn_ser.backbones import load_backbone

    return load_backbone(
        embedder.model,
        family=family,
        device=embedder.device,
        dtype=embedder.dtype,
        revision=embedder.revision,
        local_files_only=embedder.local_files_only,
        **settings,
    )


def rows_of_layers(embedder):
    """Return the rows of an embedder that chooses layers of an encoder of speech.

    Parameters
    ----------
    embedder : estimator
        With the parameters of `SPEECH_CONSTRAINTS`, those of a `RecordingTransformer`, and
        `_load_backbone()`.

    Returns
    -------
    rows : Rows
    """
    check_layers_given(embedder.layers)
    return rows_of_recordings(
        embedder,
        partial(choose_layers, embedder),
        pooling=embedder.pooling,
        window=embedder.window,
        hop=embedder.hop,
    )


def rows_of_recordings(embedder, choose, *, pooling="mean", window=None, hop=None):
    """Return the rows that an embedder makes of recordings.

    Parameters
    ----------
    embedder : estimator
        With the parameters of `PRETRAINED_CONSTRAINTS`, those of a `RecordingTransformer`, and
        `_load_backbone()`.
    choose : callable
        From the backbone to what `rows_of_network` is to know of layers.
    pooling, window, hop
        As for `WindowPooler`.

    Returns
    -------
    rows : Rows

    Raises
    ------
    ValueError
        If the parameters contradict each other, or don't fit the network.
    """
    as_store(embedder.memory)
    if hop is not None and window is None:
        raise ValueError(
            f"hop={hop} s has no meaning with window=None: give window in seconds, or leave hop "
            "out."
        )
    if hop is not None and hop > window:
        raise ValueError(
            f"hop={hop} s is longer than window={window} s, so that parts of a recording would "
            "be skipped: lower hop."
        )
    # A missing extra or model is told before any recording is read.
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
    return rows_of_network(embedder, pooler, embed, unit="s of audio", **choose(backbone))


def _check_window(window, backbone, model):
    longest, rate = backbone.max_samples, backbone.sampling_rate
    if longest is not None and (window or np.inf) * rate > longest:
        raise ValueError(
            f"window={window} is too long for {model!r}, which takes at most {longest / rate:g} s "
            "at once."
        )
    shortest = (backbone.min_samples + (backbone.stride or 0)) / rate
    if window is not None and window < shortest:
        raise ValueError(
            f"window={window} s is too short for {model!r}, which needs at least {shortest:g} s "
            "at once; some seconds are usual."
        )


def rows_of_network(
    embedder, pooler, embed, *, unit, layers, prefixes, last_layer=None, has_layer_axis=False
):
    """Return the rows that an embedder makes of some layers of a network.

    Parameters
    ----------
    embedder : estimator
        With the parameters of `PRETRAINED_CONSTRAINTS`.
    pooler : WindowPooler or TokenPooler
        The network and its pooling.
    embed : callable
        `embed_recordings` or `embed_transcripts`.
    unit : str
        What the progress bar counts.
    layers : list of int
        The layers wanted, counted from 0.
    prefixes : list of str
        What the columns of each of them begin with.
    last_layer : int, default=None
        The layer down to which to compute and keep; None for the deepest that is wanted.
    has_layer_axis : bool, default=False
        Whether layers have an axis of their own.

    Returns
    -------
    rows : Rows
    """

    def compute(inputs):
        with _progress_bar(type(embedder).__name__, unit, embedder.verbose) as progress:
            rows = embed(
                inputs,
                pooler,
                layers=layers,
                last_layer=max(layers) if last_layer is None else last_layer,
                store=as_store(embedder.memory),
                on_error=embedder.on_error,
                progress=progress.update,
            )
        return rows if has_layer_axis else rows.reshape(len(rows), -1)

    def name_columns():
        return [f"{prefix}_{column}" for prefix in prefixes for column in pooler.column_names()]

    return Rows(
        compute,
        None if has_layer_axis else name_columns,
        "Choose flatten=True for the layers side by side in one row, or a single layer",
    )


def check_layers_given(layers):
    """Refuse an empty list of layers, before the network is looked for."""
    if not isinstance(layers, str) and not np.size(layers):
        raise ValueError("layers holds no layer: name one, or pass 'all' or 'last'.")


def choose_layers(embedder, backbone):
    """Return which layers an embedder returns of a network, and in which shape.

    Parameters
    ----------
    embedder : estimator
        With the parameters of `LAYER_CONSTRAINTS`.
    backbone : Backbone
        The network.

    Returns
    -------
    chosen : dict
        `layers`, `prefixes` and `has_layer_axis` of `rows_of_network`.
    """
    named, n_layers = embedder.layers, backbone.n_layers
    is_word = isinstance(named, str)
    if is_word:
        layers = list(range(n_layers)) if named == "all" else [n_layers - 1]
    else:
        layers = resolve_layers(
            named,
            n_layers,
            parameter="layers",
            explain=lambda layer: ValueError(
                f"layers={named!r} names {layer!r}, and the network has the layers 0 (the input "
                f"of the first block) to {n_layers - 1}; negative numbers count from the last, "
                "and 'all' and 'last' are words for them."
            ),
        )
    is_one = named == "last" if is_word else isinstance(named, Integral)
    return {
        "layers": layers,
        "prefixes": [f"{backbone.name}_layer{layer:02d}" for layer in layers],
        "has_layer_axis": not (embedder.flatten or is_one),
    }


def _progress_bar(name, unit, verbose):
    from tqdm.auto import tqdm

    return tqdm(
        desc=name,
        bar_format=f"{{desc}}: {{n:.0f}} {unit} in {{elapsed}}, {{rate_noinv_fmt}}",
        unit=f" {unit.split()[0]}",
        disable=not verbose,
    )
