"""Cache of pooled layers, with a namespace for each network and its settings."""

import hashlib
import io
import json
import os
import pickle
from collections import ChainMap
from functools import partial
from types import CodeType

import numpy as np

from sklearn_ser._warnings import warn
from sklearn_ser.store import content_key

from ._known_networks import KnownBackbone, find_contents

# Number of entries to fetch from the store at once.
_ENTRIES_AT_ONCE = 256
# Increase if a change of the code changes the embeddings for the same settings.
_FORMAT = 1


class StoredLayers:
    """Cache of the pooled layers of a network.

    Parameters
    ----------
    store : EmbeddingStore
        The store of all embeddings.
    pooler : WindowPooler or TokenPooler
        The network and its pooling.
    last_layer : int
        The deepest layer that an entry must have.
    """

    def __init__(self, store, pooler, last_layer):
        self.store = store
        self.last_layer = last_layer
        self.n_columns = pooler.n_columns
        self.namespace = _namespace(pooler, store)

    def load(self, keys):
        """Yield the cached entries, with a few hundred in memory at a time.

        Parameters
        ----------
        keys : list of str
            Content keys of the inputs.

        Yields
        ------
        key : str
        pooled : ndarray of shape (n_layers, n_columns)
            Pooled layers, including `last_layer`.
        """
        for start in range(0, len(keys), _ENTRIES_AT_ONCE):
            some = keys[start : start + _ENTRIES_AT_ONCE]
            for key, pooled in self.store.load(self.namespace, some, self._is_possible).items():
                if len(pooled) > self.last_layer:
                    yield key, pooled

    def _is_possible(self, array):
        """Return whether an entry may be the network's: others were not saved by this package."""
        return array.ndim == 2 and array.shape[1] == self.n_columns and np.isfinite(array).all()

    def save(self, pooled):
        """Cache the finite entries of a batch.

        Parameters
        ----------
        pooled : dict of str to ndarray of shape (n_layers, n_columns)
            Pooled layers by content key.
        """
        finite = {key: value for key, value in pooled.items() if np.isfinite(value).all()}
        self.store.save(self.namespace, finite)


def open_stored_layers(store, pooler, last_layer):
    """Return the cache of a network; None without a store or for a pooling without a key.

    Parameters
    ----------
    store : EmbeddingStore or None
        The store of all embeddings.
    pooler : WindowPooler or TokenPooler
        The network and its pooling.
    last_layer : int
        The deepest layer that an entry must have.

    Returns
    -------
    stored : StoredLayers or None
        The cache. Warns if it is None because a pooling function has no key.
    """
    if store is None:
        return None
    try:
        _pooling_key(pooler.pooling)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        warn(
            f"pooling={pooler.pooling!r} can't be pickled ({error}), so memory= is ignored. The "
            "results are not affected. Define the function in a module."
        )
        return None
    return StoredLayers(store, pooler, last_layer)


def _namespace(pooler, store):
    """Return the namespace of the embeddings: a hash of all settings that affect them.

    The checkpoint is identified by the content of its files. A folder can therefore be moved, and
    a replaced file is detected.

    Parameters
    ----------
    pooler : WindowPooler or TokenPooler
        The network, its pooling and windows.
    store : EmbeddingStore
        Caches the hashes of unchanged files.

    Returns
    -------
    namespace : str
    """
    backbone = pooler.backbone
    contents = find_contents(backbone.checkpoint, store)
    new = {file: _digest(file.path) for file, content in contents.items() if content is None}
    store.remember_contents(new)
    contents |= new
    if isinstance(backbone, KnownBackbone):
        backbone.keep(store, contents)
    settings = {
        "format": _FORMAT,
        "name": backbone.name,
        "files": [[os.path.basename(file.path), content] for file, content in contents.items()],
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
    """Return the name of a pooling, or a hash of a function's code and values."""
    if not callable(pooling):
        return pooling
    # Local functions are serialised by value, with their closures, and importable ones by name.
    # What they do is therefore added.
    return content_key(_serialize(pooling), _function_key(pooling))


def _key_of(part):
    """Return a hash of what a function does, or of a value's `repr`."""
    return _function_key(part) if callable(part) else content_key(repr(part))


def _function_key(function):
    """Return a hash of the code and the default values of a callable, and of what it wraps."""
    contents = []
    while function is not None:
        if isinstance(function, partial):
            function = function.func
        function = getattr(function, "__func__", function)  # of a method
        if not hasattr(function, "__code__"):
            function = getattr(type(function), "__call__", None)  # of an instance  # noqa: B004
        if not hasattr(function, "__code__"):
            break
        defaults = _serialize((function.__defaults__, function.__kwdefaults__))
        contents += [repr(_code_key(function.__code__)), defaults]
        function = getattr(function, "__wrapped__", None)
    return content_key(*contents)


def _serialize(value):
    """Serialise a value by cloudpickle, for a hash that is the same in each process.

    Of code objects, only the contents are serialised: the line of a function changes with other
    edits of a script or notebook. Sets have another order in each process.
    """
    import cloudpickle

    class Contents(cloudpickle.Pickler):
        def persistent_id(self, value):
            if type(value) in (set, frozenset):
                return [type(value).__name__, *sorted(map(_serialize, value))]
            return None

        dispatch_table = ChainMap(
            {CodeType: lambda code: (str, (repr(_code_key(code)),))},
            cloudpickle.Pickler.dispatch_table,
        )

    buffer = io.BytesIO()
    Contents(buffer).dump(value)
    return buffer.getvalue()


def _code_key(code):
    """Return the contents of a code object, without its file, line numbers and address."""
    return [
        code.co_code,
        code.co_exceptiontable,
        [_constant_key(value) for value in code.co_consts],
        [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
    ]


def _constant_key(value):
    """Return the contents of a constant of a code object."""
    if isinstance(value, CodeType):
        return _code_key(value)
    if isinstance(value, frozenset):  # in an order that does not change with the process
        return sorted(map(repr, value))
    return repr(value)
