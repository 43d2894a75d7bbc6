"""Pooled layers in a store, kept under all that shapes them."""

import hashlib
import json
import os
import pickle

import numpy as np

from sklearn_ser._warnings import warn
from sklearn_ser.store import FileVersion, content_key

# Entries fetched from the store at once.
_ENTRIES_AT_ONCE = 256
# To be raised when the same settings come to give other numbers.
_FORMAT = 1


class StoredLayers:
    """The pooled layers of a network, down to one of them, in a store.

    Parameters
    ----------
    store : EmbeddingStore
        Where they are kept.
    pooler : WindowPooler or TokenPooler
        What makes them.
    last_layer : int
        The layer down to which they are needed.
    """

    def __init__(self, store, pooler, last_layer):
        self.store = store
        self.last_layer = last_layer
        self.n_columns = pooler.n_columns
        self.namespace = _network_key(pooler, store)

    def load(self, contents):
        """Yield what is kept of some contents, a few hundred in memory at a time.

        Parameters
        ----------
        contents : list of str
            The keys of inputs.

        Yields
        ------
        content : str
        pooled : ndarray of shape (n_layers, n_columns)
            At least down to the layer that is needed.
        """
        for start in range(0, len(contents), _ENTRIES_AT_ONCE):
            found = self.store.load(self.namespace, contents[start : start + _ENTRIES_AT_ONCE])
            for content, pooled in found.items():
                if len(pooled) > self.last_layer and pooled.shape[1:] == (self.n_columns,):
                    yield content, pooled

    def save(self, pooled):
        """Keep what is finite of a batch.

        Parameters
        ----------
        pooled : dict of str to ndarray of shape (n_layers, n_columns)
            By the keys of the inputs.
        """
        finite = {key: value for key, value in pooled.items() if np.isfinite(value).all()}
        self.store.save(self.namespace, finite)


def open_stored_layers(store, pooler, last_layer):
    """Return the layers in a store; None without a store, or where they could not be told apart.

    Parameters
    ----------
    store : EmbeddingStore or None
    pooler : WindowPooler or TokenPooler
    last_layer : int
        As for `StoredLayers`.

    Returns
    -------
    stored : StoredLayers or None
        None comes with a warning where a user's pooling is the reason.
    """
    if store is None:
        return None
    try:
        _pooling_key(pooler.pooling)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        warn(
            f"pooling={pooler.pooling!r} can't be told from other functions ({error}), so that "
            "memory= is left out for it. The results are right. Define it in a module."
        )
        return None
    return StoredLayers(store, pooler, last_layer)


def _network_key(pooler, store):
    """Return what embeddings are kept under: all that shapes them but the recording.

    The checkpoint is known by the content of its files, so that a folder may move, and a file
    that was replaced is noticed.

    Parameters
    ----------
    pooler : WindowPooler or TokenPooler
        The network, its pooling and windows.
    store : EmbeddingStore
        Remembers the content of unchanged files.

    Returns
    -------
    key : str
    """
    backbone = pooler.backbone
    files = [FileVersion.from_path(path, "whole file") for path in backbone.checkpoint.files]
    known = store.known_contents(files)
    contents = {version: known.get(version) or _digest(version.path) for version in files}
    store.remember_contents({v: content for v, content in contents.items() if v not in known})
    settings = {
        "format": _FORMAT,
        "name": backbone.name,
        "files": [[os.path.basename(version.path), contents[version]] for version in files],
        "code": [_key_of(part) for part in backbone.fingerprint],
        "dtype": str(backbone.dtype),
        "context": backbone.context,
        "window": pooler.window,
        "hop": pooler.hop,
        "pooling": _pooling_key(pooler.pooling),
    }
    return content_key(json.dumps(settings, sort_keys=True))


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _pooling_key(pooling):
    """Return the name of a pooling, or what tells a function from another: code and values."""
    if not callable(pooling):
        return pooling
    import cloudpickle

    # By value what was defined in a notebook or in another function, with all that it holds; by
    # name what can be imported, whose code is added.
    code = getattr(pooling, "__code__", None)
    return content_key(cloudpickle.dumps(pooling), repr(code and _code_key(code)))


def _key_of(part):
    """Return the name of what a function does, or of the value that something else is."""
    code = getattr(part, "__code__", None)
    return content_key(repr(part if code is None else _code_key(code)))


def _code_key(code):
    """Return what a code object does, whatever its file, lines and address are."""
    constants = [
        _code_key(value) if hasattr(value, "co_code") else repr(value) for value in code.co_consts
    ]
    return [code.co_code, constants, code.co_names, code.co_varnames]
