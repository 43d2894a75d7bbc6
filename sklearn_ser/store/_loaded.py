"""Keep in memory what this process has loaded from a store, while the file is unchanged."""

import os

from ._database import FILE
from ._files import FileVersion

# Maximum size of what is kept, and size of an entry without its array. The first ones that are
# loaded are kept: a search loads the same entries again and again, and if they are more than fit,
# the least recent ones are those needed next.
_MAX_BYTES = 2**26
_ENTRY_BYTES = 512


class Loaded:
    """Arrays and content keys of files, loaded from one version of a store's file."""

    def __init__(self, version):
        self.version = version
        self._contents = {}
        self._arrays = {}
        self._n_bytes = 0

    def arrays_of(self, namespace, keys):
        """Return the arrays that are in memory, by key."""
        arrays = self._arrays
        return {key: arrays[namespace, key].view() for key in keys if (namespace, key) in arrays}

    def contents_of(self, files):
        """Return the content keys that are in memory, by file."""
        return {file: self._contents[file] for file in files if file in self._contents}

    def keep_array(self, namespace, key, array):
        """Keep a read-only array, if there is space."""
        self._keep(self._arrays, (namespace, key), array.view(), array.nbytes)

    def keep_content(self, file, key):
        """Keep the content key of a file, if there is space."""
        self._keep(self._contents, file, key, 0)

    def _keep(self, held, key, value, n_bytes):
        n_bytes += _ENTRY_BYTES
        if self._n_bytes + n_bytes <= _MAX_BYTES:
            self._n_bytes += n_bytes
            held[key] = value


_loaded: dict[str, Loaded] = {}  # of the last folder


def recall(folder):
    """Return what has been loaded from a store since its file last changed.

    Parameters
    ----------
    folder : str or None
        Folder of the store. If None, nothing is remembered.

    Returns
    -------
    loaded : Loaded
        What is added to it is found again, unless the file changed just now.
    """
    try:
        version = folder and FileVersion.from_path(os.path.join(folder, FILE), "")
    except (OSError, ValueError):
        version = None
    known = _loaded.get(folder)
    if known is not None and known.version == version:
        return known
    loaded = Loaded(version)
    if version is not None and version.is_settled():
        _loaded.clear()
        _loaded[folder] = loaded
    return loaded
