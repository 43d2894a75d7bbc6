"""What the embedders over frozen networks share."""

import os
from numbers import Integral, Real
from typing import Any

import numpy as np

from sklearn_ser._sklearn import HasMethods, Interval, StrOptions
from sklearn_ser.store import EmbeddingStore, as_store

from ._base import RecordingTransformer
from ._embedding import Embedding
from ._encoding import Encoder


class PretrainedEmbedder(RecordingTransformer):
    """Rows that a frozen network makes of recordings, pooled over time.

    A subclass stores the parameters that are constrained here, and names the `_family` of
    backbones that it runs. It may have those of `LAYER_CONSTRAINTS`, for which others stand here
    as constants.
    """

    _family: str
    _two_axes_remedy = (
        "Choose flatten=True for the layers side by side in one row, or a single layer"
    )

    # What the progress bar counts.
    _progress_unit = "s of audio"

    layers: Any = "last"
    flatten = False
    pooling: Any = "mean"
    window: float | None = None
    hop: float | None = None

    _parameter_constraints: dict = {
        **RecordingTransformer._parameter_constraints,
        "model": [str, os.PathLike],
        "revision": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "dtype": [StrOptions({"float32", "bfloat16", "float16"})],
        "memory": [str, os.PathLike, HasMethods(["cache"]), EmbeddingStore, None],
        "local_files_only": ["boolean"],
        "verbose": ["verbose"],
    }

    def _check_parameters(self):
        as_store(self.memory)
        if self.hop is not None and self.window is None:
            raise ValueError(
                f"hop={self.hop} s has no meaning with window=None: give window in seconds, or "
                "leave hop out."
            )
        if self.hop is not None and self.window is not None and self.hop > self.window:
            raise ValueError(
                f"hop={self.hop} s is longer than window={self.window} s, so that parts of a "
                "recording would be skipped: lower hop."
            )
        if not isinstance(self.layers, str) and not np.size(self.layers):
            raise ValueError("layers holds no layer: name one, or pass 'all' or 'last'.")
        # A missing extra or model is told before any recording is read.
        self._make_encoder()

    def _load_backbone(self):
        from sklearn_ser.backbones import load_backbone

        return load_backbone(
            self.model,
            family=self._family,
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            local_files_only=self.local_files_only,
            **self._backbone_settings(),
        )

    def _backbone_settings(self):
        """Return what backbones of this family are told beside."""
        return {}

    def _make_encoder(self):
        backbone = self._load_backbone()
        longest = backbone.max_samples
        if longest is not None and (self.window or np.inf) * backbone.sampling_rate > longest:
            raise ValueError(
                f"window={self.window} is too long for {self.model!r}, which takes at most "
                f"{longest / backbone.sampling_rate:g} s at once."
            )
        shortest = (backbone.min_samples + (backbone.stride or 0)) / backbone.sampling_rate
        if self.window is not None and self.window < shortest:
            raise ValueError(
                f"window={self.window} s is too short for {self.model!r}, which needs at least "
                f"{shortest:g} s at once; some seconds are usual."
            )
        return Encoder(
            backbone,
            pooling=self.pooling,
            window=self.window,
            hop=self.hop,
            batch_size=self.batch_size,
        )

    def _layers_wanted(self, n_layers):
        """Return the layers of the output, counted from 0."""
        return _resolve_layers(self.layers, n_layers)

    def _depth_kept(self, layers, n_layers):
        """Return the layer down to which to compute and keep: the deepest of those wanted."""
        return max(layers)

    def _has_layer_axis(self):
        if self.flatten or isinstance(self.layers, Integral):
            return False
        return not isinstance(self.layers, str) or self.layers == "all"

    def _compute(self, recordings):
        encoder = self._make_encoder()
        n_layers = encoder.backbone.n_layers
        layers = self._layers_wanted(n_layers)
        with _progress_bar(type(self).__name__, self._progress_unit, self.verbose) as progress:
            embedding = self._make_embedding(
                encoder,
                layers=layers,
                depth=self._depth_kept(layers, n_layers),
                store=as_store(self.memory),
                on_error=self.on_error,
                progress=progress.update,
            )
            rows = embedding.embed(recordings)
        return rows if self._has_layer_axis() else rows.reshape(len(rows), -1)

    def _make_embedding(self, encoder, **settings):
        return Embedding(
            encoder,
            sampling_rate=self.sampling_rate,
            channel=self.channel,
            n_jobs=self.n_jobs,
            **settings,
        )

    def _names_out(self):
        if self._has_layer_axis():
            return None
        encoder = self._make_encoder()
        backbone = encoder.backbone
        return [
            f"{backbone.name}_layer{layer:02d}_{column}"
            for layer in self._layers_wanted(backbone.n_layers)
            for column in encoder.column_names()
        ]


LAYER_CONSTRAINTS: dict = {
    "layers": [StrOptions({"last", "all"}), Integral, "array-like"],
    "flatten": ["boolean"],
    "pooling": [StrOptions({"mean", "mean_std", "max"}), callable],
    "window": [Interval(Real, 0, None, closed="neither"), None],
    "hop": [Interval(Real, 0, None, closed="neither"), None],
}


def _resolve_layers(layers, n_layers):
    """Turn the parameter `layers` into a list of layers counted from 0."""
    if isinstance(layers, str):
        return list(range(n_layers)) if layers == "all" else [n_layers - 1]
    resolved = []
    for layer in [layers] if isinstance(layers, Integral) else layers:
        is_number = isinstance(layer, Integral) and not isinstance(layer, bool)
        if not is_number or not -n_layers <= layer < n_layers:
            raise ValueError(
                f"layers={layers!r} names {layer!r}, and the network has the layers 0 (the input "
                f"of the first block) to {n_layers - 1}; negative numbers count from the last, "
                "and 'all' and 'last' are words for them."
            )
        resolved.append(int(layer) % n_layers)
    if len(set(resolved)) < len(resolved):
        raise ValueError(f"layers={layers!r} names a layer twice; the network has {n_layers}.")
    return resolved


def _progress_bar(name, unit, verbose):
    from tqdm.auto import tqdm

    return tqdm(
        desc=name,
        bar_format=f"{{desc}}: {{n:.0f}} {unit} in {{elapsed}}, {{rate_noinv_fmt}}",
        unit=f" {unit.split()[0]}",
        disable=not verbose,
    )
