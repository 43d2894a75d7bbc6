"""Shapes, indices and column names of layers that are stored as a table, layer by layer."""

import re

import numpy as np

from ._indices import is_index, resolve_layers

# Part of the column names of embedders that identifies the layer.
_LAYER_IN_NAME = re.compile(r"layer\d+")


def as_layers(array, n_layers, names=()):
    """Convert to shape (n_recordings, n_layers, n_dims); a view if `array` is a table.

    Parameters
    ----------
    array : ndarray of shape (n_recordings, n_layers, n_dims) or (n_recordings, n_layers * n_dims)
        Layers, with three axes or as a table.
    n_layers : int or None
        Expected number of layers. None means one if `array` is a table.
    names : array-like of str
        Column names of a table, if it has any.

    Returns
    -------
    layers : ndarray of shape (n_recordings, n_layers, n_dims)
    """
    if array.ndim == 2:
        return _split_table(array, n_layers, names)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"X has shape {array.shape}; it must be (n_recordings, n_layers, n_dims), or a table "
            "of (n_recordings, n_layers * n_dims)."
        )
    if n_layers not in {None, array.shape[1]}:
        raise ValueError(f"n_layers={n_layers}, but X of shape {array.shape} has {array.shape[1]}.")
    return array


def _split_table(table, n_layers, names):
    numbers = {found.group() for name in names if (found := _LAYER_IN_NAME.search(name))}
    if n_layers is None and len(numbers) > 1:
        raise ValueError(
            f"The columns of X name {len(numbers)} layers, but n_layers=None means one layer: pass "
            f"n_layers={len(numbers)}."
        )
    n_layers = n_layers or 1
    if table.shape[1] % n_layers:
        raise ValueError(
            f"X has {table.shape[1]} columns, which is not a multiple of n_layers={n_layers}."
        )
    return table.reshape(len(table), n_layers, -1)


def check_indices(layer, n_layers):
    """Return non-negative indices for an index or a list of indices."""

    def explain(index):
        if not is_index(index):
            return TypeError(f"layer={layer!r} must contain integers, got {index!r}.")
        remedy = " A table of several layers needs n_layers." if n_layers == 1 else ""
        return ValueError(
            f"layer={layer!r} is out of range: X has {n_layers} layer(s), so that indices range "
            f"from {-n_layers} to {n_layers - 1}.{remedy}"
        )

    return np.array(resolve_layers(layer, n_layers, parameter="layer", explain=explain))


def layer_names(n_layers, n_dims):
    """Return names for all dimensions of all layers, such as "layer03_dim0012"."""
    layers, dims = _numbered("layer", n_layers), _numbered("dim", n_dims)
    return np.array([f"{layer}_{dim}" for layer in layers for dim in dims], dtype=object)


def _numbered(prefix, count):
    width = len(str(count - 1))
    return [f"{prefix}{number:0{width}d}" for number in range(count)]


def combined_names(names, word):
    """Return names for a combination of layers, from names of shape (n_layers, n_dims)."""
    renamed = np.array(
        [[_LAYER_IN_NAME.sub(f"layer{word}", name) for name in row] for row in names], dtype=object
    )
    if (renamed == renamed[0]).all() and (renamed != names).all():
        return renamed[:1]
    dims = _numbered("dim", names.shape[1])
    return np.array([[f"layer{word}_{dim}" for dim in dims]], dtype=object)
