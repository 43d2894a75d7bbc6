"""Layers as columns of a table, layer by layer: shapes, indices and names."""

import re

import numpy as np

from ._indices import is_index, resolve_layers

# How the embedders mark the layer in the name of a column.
_LAYER_IN_NAME = re.compile(r"layer\d+")


def as_layers(array, n_layers, names=()):
    """Return an array of shape (n_recordings, n_layers, n_dims), a view where `array` is a table.

    Parameters
    ----------
    array : ndarray of shape (n_recordings, n_layers, n_dims) or (n_recordings, n_layers * n_dims)
        Layers, or a table of them.
    n_layers : int or None
        How many there must be; None takes a table for one.
    names : array-like of str
        Names of the columns of a table, if it has any.
    """
    if array.ndim == 2:
        return _split_table(array, n_layers, names)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"X has shape {array.shape}; it must be (n_recordings, n_layers, n_dims), or a table "
            "of (n_recordings, n_layers * n_dims)."
        )
    if n_layers not in {None, array.shape[1]}:
        raise ValueError(f"n_layers={n_layers}, and X of shape {array.shape} has {array.shape[1]}.")
    return array


def _split_table(table, n_layers, names):
    numbers = {found.group() for name in names if (found := _LAYER_IN_NAME.search(name))}
    if n_layers is None and len(numbers) > 1:
        raise ValueError(
            f"The columns of X name {len(numbers)} layers, and n_layers=None takes a table for "
            f"one: give n_layers={len(numbers)}."
        )
    n_layers = n_layers or 1
    if table.shape[1] % n_layers:
        raise ValueError(
            f"X has {table.shape[1]} columns, which don't divide into n_layers={n_layers}."
        )
    return table.reshape(len(table), n_layers, -1)


def check_indices(layer, n_layers):
    """Return the layers that an index or a list of them names, counted from 0."""

    def explain(index):
        if not is_index(index):
            return TypeError(f"layer={layer!r} must hold integers, and holds {index!r}.")
        remedy = " A table of several layers needs n_layers." if n_layers == 1 else ""
        return ValueError(
            f"layer={layer!r} is out of range: X has {n_layers} layer(s), so that indices run "
            f"from {-n_layers} to {n_layers - 1}.{remedy}"
        )

    return np.array(resolve_layers(layer, n_layers, parameter="layer", explain=explain))


def layer_names(n_layers, n_dims):
    """Name all dimensions of all layers, such as "layer03_dim0012"."""
    layers, dims = _number("layer", n_layers), _number("dim", n_dims)
    return np.array([f"{layer}_{dim}" for layer in layers for dim in dims], dtype=object)


def _number(word, count):
    width = len(str(count - 1))
    return [f"{word}{number:0{width}d}" for number in range(count)]


def names_of_combination(names, word):
    """Name the dimensions of a combination of layers, from names (n_layers, n_dims)."""
    renamed = np.array(
        [[_LAYER_IN_NAME.sub(f"layer{word}", name) for name in row] for row in names], dtype=object
    )
    if (renamed == renamed[0]).all() and (renamed != names).all():
        return renamed[:1]
    dims = _number("dim", names.shape[1])
    return np.array([[f"layer{word}_{dim}" for dim in dims]], dtype=object)
