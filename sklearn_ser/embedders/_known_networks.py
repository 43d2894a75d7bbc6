"""Attributes of networks in the store, so that a network is opened only to compute.

What a network of transformers looks like, such as its number of layers, depends on its files and on
the defaults of transformers, which takes seconds to import, as does torch. The attributes are
therefore kept in the store with the embeddings. They are found by the content of the network's
files, which was validated when they were kept. Nothing here imports torch.
"""

import json
import os
from functools import cached_property, lru_cache
from importlib.metadata import version

from sklearn_ser._pickles import own_version
from sklearn_ser.store import EmbeddingStore, FileVersion, content_key

# Attributes of a backbone that determine columns, layers, windows and cache keys, and their types.
_ATTRIBUTES = {
    **dict.fromkeys(("name", "dtype"), (str,)),
    **dict.fromkeys(("n_layers", "n_dims", "sampling_rate", "min_samples"), (int,)),
    **dict.fromkeys(("stride", "max_samples"), (int, type(None))),
    "context": (str, type(None)),
    "cuts_by_itself": (bool,),
}
# Devices that are the same for any network, and are available without a check.
_SAFE_DEVICES = ("auto", "cpu")
# Maximum number of networks to keep in memory, without weights.
_MAX_NETWORKS = 32


def recall_backbone(checkpoint, store, **settings):
    """Return the backbone of a checkpoint, opened only where it is not known from a store.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    store : EmbeddingStore or None
        Store of the embeddings.
    **settings
        Arguments `family`, `device`, `dtype` and others of `open_network`.

    Returns
    -------
    backbone : AudioBackbone or KnownBackbone
        Shared, must not be modified. An `AudioBackbone` without a store, for a precision that is
        measured, and for a device that has to be checked.
    """
    is_measured = settings["dtype"] == "auto"
    if store is None or is_measured or settings["device"] not in _SAFE_DEVICES:
        return _open(checkpoint, settings)
    location = os.path.abspath(os.fsdecode(store.location))
    return _recall(checkpoint, checkpoint.version, location, **settings)


@lru_cache(maxsize=_MAX_NETWORKS)
def _recall(checkpoint, version, location, **settings):
    return KnownBackbone(checkpoint, version, EmbeddingStore(location), settings)


def _open(checkpoint, settings):
    from sklearn_ser.backbones import open_network

    return open_network(checkpoint, **settings)


class KnownBackbone:
    """A backbone with attributes from a store, opened at the first access to anything else.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    version : tuple
        Their `version`.
    store : EmbeddingStore
        Store with the attributes. If it does not have them, the backbone is opened.
    settings : dict
        Arguments of `open_network`.
    """

    fingerprint = ()

    def __init__(self, checkpoint, version, store, settings):
        self.checkpoint = checkpoint
        self._version = version
        self._settings = settings
        contents = find_contents(checkpoint, store)
        attributes = self._load(store, contents) if None not in contents.values() else None
        self._is_kept = attributes is not None
        if attributes is None:
            attributes = {name: getattr(self._opened, name) for name in _ATTRIBUTES}
            attributes["dtype"] = str(attributes["dtype"])
        vars(self).update(attributes)

    @cached_property
    def _opened(self):
        return _open(self.checkpoint, self._settings)

    def __getattr__(self, name):
        """Return an attribute or a method of the backbone, which is opened for it."""
        if name.startswith("_"):  # or an error of `_opened` would end here, and open it again
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._opened, name)

    def _load(self, store, contents):
        """Return the attributes in a store; None if it has none, or damaged ones."""
        file = self._file(contents)
        checksum, _, text = store.known_contents([file]).get(file, "").partition(" ")
        if checksum != content_key(text):
            return None
        try:
            attributes = json.loads(text)
            is_whole = attributes.keys() == _ATTRIBUTES.keys() and all(
                type(attributes[name]) in types for name, types in _ATTRIBUTES.items()
            )
        except (ValueError, AttributeError):
            return None
        return attributes if is_whole else None

    def keep(self, store, contents):
        """Keep the attributes in a store, unless the files have changed since they were read.

        Parameters
        ----------
        store : EmbeddingStore
            Store of the embeddings.
        contents : dict of FileVersion to str
            Hashes of the checkpoint's files.
        """
        if not self._is_kept and self.checkpoint.version == self._version:
            text = json.dumps({name: getattr(self, name) for name in _ATTRIBUTES})
            kept = {self._file(contents): f"{content_key(text)} {text}"}
            store.remember_contents(kept, silent=True)
            self._is_kept = bool(store.known_contents(list(kept)))

    def _file(self, contents):
        """Return the version of a file whose content is the attributes, for the store."""
        settings = {name: value for name, value in self._settings.items() if name != "device"}
        files = [[os.path.basename(file.path), content] for file, content in contents.items()]
        source = [own_version(), version("transformers"), list(_ATTRIBUTES), settings, files]
        key = content_key(json.dumps(source, sort_keys=True))
        return FileVersion.from_path(self.checkpoint.files[0], f"attributes {key}")


def find_contents(checkpoint, store):
    """Return the hashes of the files of a checkpoint that a store knows.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    store : EmbeddingStore
        Has the hashes of unchanged files.

    Returns
    -------
    contents : dict of FileVersion to str or None
        None for the files that are not known.
    """
    files = [FileVersion.from_path(path, "whole file") for path in checkpoint.files]
    known = store.known_contents(files)
    return {file: known.get(file) for file in files}
