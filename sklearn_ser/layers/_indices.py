"""Resolve indices of layers."""

from numbers import Integral
from typing import Any

import numpy as np


def resolve_layers(selected, n_layers, *, parameter, explain, negative=True):
    """Return non-negative indices of the selected layers.

    Parameters
    ----------
    selected : int or iterable of int
        One index or several.
    n_layers : int
        Number of layers.
    parameter : str
        Name of the parameter, for error messages.
    explain : callable
        Maps an invalid index to the exception to raise.
    negative : bool, default=True
        If True, negative indices count from the last layer; if False, they are invalid.

    Returns
    -------
    layers : list of int
        Indices in the order of `selected`.

    Raises
    ------
    ValueError
        If no layer is selected, or one is selected twice.
    """
    indices: list[Any] = [selected] if isinstance(selected, Integral) else list(selected)
    if not indices:
        raise ValueError(f"{parameter}={selected!r} names no layer.")
    lowest = -n_layers if negative else 0
    for index in indices:
        if not is_index(index) or not lowest <= index < n_layers:
            raise explain(index)
    layers = [int(index) % n_layers for index in indices]
    if len(set(layers)) < len(layers):
        raise ValueError(f"{parameter}={selected!r} names a layer twice, of {n_layers}.")
    return layers


def is_index(value):
    """Return whether a value is an integer and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool))
