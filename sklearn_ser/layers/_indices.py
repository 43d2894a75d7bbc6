"""Layers by their indices: the one place that counts them."""

from numbers import Integral
from typing import Any

import numpy as np


def resolve_layers(named, n_layers, *, parameter, explain, negative=True):
    """Turn an index, or several, into layers counted from 0.

    Parameters
    ----------
    named : int or iterable of int
        As a user names them.
    n_layers : int
        How many there are.
    parameter : str
        The parameter that holds them, for errors to name.
    explain : callable
        From an index that names no layer to the exception to raise.
    negative : bool, default=True
        Whether negative indices count from the last layer, or name none.

    Returns
    -------
    layers : list of int
        In the order in which they were named.

    Raises
    ------
    ValueError
        If there is none, or one twice.
    """
    indices: list[Any] = [named] if isinstance(named, Integral) else list(named)
    if not indices:
        raise ValueError(f"{parameter}={named!r} names no layer.")
    lowest = -n_layers if negative else 0
    for index in indices:
        if not is_index(index) or not lowest <= index < n_layers:
            raise explain(index)
    layers = [int(index) % n_layers for index in indices]
    if len(set(layers)) < len(layers):
        raise ValueError(f"{parameter}={named!r} names a layer twice, of {n_layers}.")
    return layers


def is_index(value):
    """Tell an integer from all else, booleans included."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool))
