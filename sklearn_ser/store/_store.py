"""Cache arrays, and the content keys of files, on disk."""

import os
import zlib
from contextlib import closing
from functools import partial
from numbers import Real

import joblib
import numpy as np

from . import _database
from ._content import encode
from ._loaded import recall

_ITEM_BYTES = 4  # of a float32

# A number even if the column is damaged.
_N_BYTES = "IFNULL(CAST(n_bytes AS INTEGER), 0)"

# Maximum number of rows of the table of files, of some 300 bytes each. The oldest are deleted.
_MAX_FILES = 1_000_000


class EmbeddingStore:
    """Cache embeddings on disk by content.

    Each entry is an array, under a namespace that identifies the network and a key that identifies
    the content, so that a recording is found again in any file, fold, candidate, order or process.

    Parameters
    ----------
    location : str or path-like
        Folder of the embeddings, created by the first `save`. It should be on a local disk. A
        relative path is resolved against the working directory at each use.

    max_bytes : int or float, default=None
        Maximum size of the arrays, in bytes. After a `save`, the least recently used entries are
        deleted until the rest fits. None keeps all entries.

    Attributes
    ----------
    n_bytes : int
        Size of the stored arrays, in bytes.

    Notes
    -----
    The folder contains one SQLite file, `embeddings.sqlite`. Several processes and threads may
    read and write it at the same time. A `save` is one transaction: if its process is killed, the
    file is unchanged. Arrays are stored without pickle, so that loading a store from someone else
    runs no code.

    Of the last store without `max_bytes`, the process keeps up to 64 MB of loaded arrays in memory
    while the file is unchanged, so that a search reads the file once.

    Problems with the disk never raise an error; embeddings are then computed again. An entry with
    a wrong checksum is deleted, a file that is damaged as a whole is renamed to
    `embeddings.sqlite.damaged` (replacing an earlier one), and a folder that is full, read-only,
    locked, or made by another version of this package is left unchanged. A warning is issued once
    per process and folder.

    Loading does not need write permission. With `max_bytes`, loading also records the use of each
    entry, if the file can be written. Stores without `max_bytes` do not record it, so that all
    stores that share a folder should have the same limit.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from sklearn_ser import EmbeddingStore
    >>> with TemporaryDirectory() as folder:
    ...     store = EmbeddingStore(folder)
    ...     store.save("wavlm", {"a recording": np.ones((13, 768), dtype=np.float32)})
    ...     found = store.load("wavlm", ["a recording", "another"])
    ...     print({key: array.shape for key, array in found.items()}, store.n_bytes)
    {'a recording': (13, 768)} 39936
    """

    def __init__(self, location, *, max_bytes=None):
        if not isinstance(location, (str, os.PathLike)):
            raise TypeError(
                f"location is of type {type(location).__name__}; a str or path-like is expected."
            )
        if max_bytes is not None and not (isinstance(max_bytes, Real) and float(max_bytes) >= 0):
            raise ValueError(
                f"max_bytes is {max_bytes!r}; a number of bytes of at least 0, or None, is "
                "expected."
            )
        if "\0" in os.fsdecode(location):
            raise ValueError(f"location is {location!r}; a path can't have NUL characters.")
        self.location = location
        self.max_bytes = max_bytes

    def __repr__(self):
        """Return the call that creates this store."""
        limit = "" if self.max_bytes is None else f", max_bytes={self.max_bytes!r}"
        return f"{type(self).__name__}({os.fspath(self.location)!r}{limit})"

    def load(self, namespace, keys, check=None):
        """Load the arrays that are found and not damaged.

        Parameters
        ----------
        namespace : str
            Identifier of the network and of all settings that affect its output.
        keys : sequence of str
            Keys of the contents, such as those of `content_key`.
        check : callable, default=None
            Function of an array that is read from the file, which returns whether it is possible.
            Others are treated as damaged: they are deleted.

        Returns
        -------
        arrays : dict of str to ndarray
            Read-only float32 arrays by the keys that were found.
        """
        keys = list(dict.fromkeys(keys))
        loaded = self._recall()
        arrays = loaded.arrays_of(namespace, keys)
        missing = [key for key in keys if key not in arrays]
        damaged = set()

        def find(connection):
            for key in missing:
                try:
                    array = _load_entry(connection, namespace, key, check)
                except _DamagedEntryError:
                    damaged.add(key)
                else:
                    if array is not None:
                        arrays[key] = array
                        loaded.keep_array(namespace, key, array)

        if missing:
            _database.read(self._folder, find)
        if damaged:
            self._delete_damaged(namespace, damaged, check)
        if arrays and self.max_bytes is not None:
            record_use = partial(_record_use, namespace=namespace, keys=arrays)
            _database.write(self._folder, record_use, silent=True)
        return arrays

    def save(self, namespace, arrays):
        """Save arrays in one transaction.

        Of two arrays with the same namespace and key, the larger is kept, so that a pass through
        fewer layers does not replace one through more.

        Parameters
        ----------
        namespace : str
            Identifier of the network and of all settings that affect its output.
        arrays : mapping of str to ndarray
            Arrays of any shape by their keys; they are stored as float32.
        """
        limit = None if self.max_bytes is None else float(self.max_bytes)
        entries = [
            (key, _pack(namespace, key, array))
            for key, array in arrays.items()
            if limit is None or _ITEM_BYTES * np.size(array) <= limit
        ]

        def insert(connection):
            use = _next_use(connection)
            for key, packed in entries:
                _save_entry(connection, namespace, key, packed, use)
            if limit is not None:
                _evict(connection, limit)

        if entries:
            _database.write(self._folder, insert)

    def known_contents(self, files):
        """Return the content keys of files that have not changed since they were remembered.

        Parameters
        ----------
        files : sequence of FileVersion
            Current versions of the files.

        Returns
        -------
        keys : dict of FileVersion to str
            Content keys of the files that were found.
        """
        files = list(dict.fromkeys(files))
        loaded = self._recall()
        keys = loaded.contents_of(files)
        missing = [file for file in files if file not in keys]

        def find(connection):
            for file in missing:
                row = connection.execute(
                    "SELECT content FROM files WHERE path = ? AND reading = ? AND stamp = ?",
                    (encode(file.path), encode(file.decode_options), encode(file.stamp)),
                ).fetchone()
                if row is not None:
                    keys[file] = row[0].decode("utf-8", "replace")
                    loaded.keep_content(file, keys[file])

        if missing:
            _database.read(self._folder, find)
        return keys

    def remember_contents(self, keys, *, silent=False):
        """Save the content keys of files, for `known_contents`.

        Files that had changed just before their version was determined are skipped, since a later
        change might not be detected.

        Parameters
        ----------
        keys : mapping of FileVersion to str
            Content keys by the versions of the files before they were read.
        silent : bool, default=False
            If True, do not warn if they can't be saved.
        """
        rows = [
            tuple(map(encode, (file.path, file.decode_options, file.stamp, key)))
            for file, key in keys.items()
            if file.is_settled()
        ]

        def insert(connection):
            # A replaced row gets a new, higher id.
            connection.executemany(
                "INSERT OR REPLACE INTO files (path, reading, stamp, content) VALUES (?, ?, ?, ?)",
                rows,
            )
            connection.execute(
                "DELETE FROM files WHERE id <= (SELECT MAX(id) FROM files) - ?", (_MAX_FILES,)
            )

        if rows:
            _database.write(self._folder, insert, silent=silent)

    def clear(self):
        """Delete all embeddings and all content keys of files."""

        def delete(connection):
            for table in ("entries", "arrays", "files"):
                connection.execute(f"DELETE FROM {table}")

        _database.write(self._folder, delete)

    @property
    def n_bytes(self):
        """Size of the stored arrays, in bytes."""
        return self._count("TOTAL(n_bytes)")

    def __len__(self):
        """Return the number of stored arrays."""
        return self._count("COUNT(*)")

    def _count(self, expression):
        counts = [0]

        def count(connection):
            counts.extend(connection.execute(f"SELECT {expression} FROM entries").fetchone())

        _database.read(self._folder, count)
        return int(counts[-1])

    def _recall(self):
        # With a limit, each use is recorded, in the file.
        return recall(self._folder if self.max_bytes is None else None)

    @property
    def _folder(self):
        return os.path.abspath(os.fsdecode(self.location))

    def _delete_damaged(self, namespace, keys, check):
        def delete(connection):
            for key in keys:
                try:
                    # Another process may have replaced it in the meantime.
                    _load_entry(connection, namespace, key, check)
                except _DamagedEntryError as error:
                    _delete_entries(connection, [error.id])

        _database.write(self._folder, delete, silent=True)
        _database.warn_once(
            self._folder,
            "damaged entry",
            f"{len(keys)} of the embeddings kept in {self._folder!r} are damaged. They are "
            "deleted and computed again.",
        )


class _DamagedEntryError(Exception):
    def __init__(self, id_):
        super().__init__(id_)
        self.id = id_


def _pack(namespace, key, array):
    """Return the shape, the checksum and the data of an array as stored."""
    array = np.asarray(array, dtype="<f4", order="C")
    shape = np.array(array.shape, dtype="<i8").tobytes()
    data = array.tobytes()
    return shape, _checksum(namespace, key, shape, data), data


def _checksum(namespace, key, shape, data):
    # Detects accidental damage, not forgery: a CRC takes a ninth of the time of BLAKE2b. It covers
    # the namespace and the key, so that an array stored under another key is detected too.
    checksum = 0
    for part in (encode(namespace), encode(key), shape, data):
        checksum = zlib.crc32(part, checksum)
    return checksum


def _load_entry(connection, namespace, key, check):
    """Return an array, or None if there is none; raise if it is damaged or fails a check."""
    row = connection.execute(
        "SELECT entries.id, n_bytes, shape, checksum, data FROM entries "
        "LEFT JOIN arrays ON arrays.id = entries.id WHERE content = ? AND network = ?",
        (encode(key), encode(namespace)),
    ).fetchone()
    if row is None:
        return None
    id_, n_bytes, shape, checksum, data = row
    if not (isinstance(shape, bytes) and isinstance(data, bytes) and len(data) == n_bytes):
        raise _DamagedEntryError(id_)
    if _checksum(namespace, key, shape, data) != checksum:
        raise _DamagedEntryError(id_)
    try:
        sizes = np.frombuffer(shape, dtype="<i8")
        array = np.frombuffer(data, dtype="<f4").reshape(sizes).astype(np.float32, copy=False)
    except ValueError as error:  # of a forged entry, whose checksum is right
        raise _DamagedEntryError(id_) from error
    if (sizes < 0).any() or (check is not None and not check(array)):
        raise _DamagedEntryError(id_)
    return array


def _save_entry(connection, namespace, key, packed, use):
    n_bytes = len(packed[-1])
    row = connection.execute(
        f"SELECT id, {_N_BYTES} FROM entries WHERE content = ? AND network = ?",
        (encode(key), encode(namespace)),
    ).fetchone()
    if row is None:
        id_ = connection.execute(
            "INSERT INTO entries (content, network, n_bytes, last_use) VALUES (?, ?, ?, ?)",
            (encode(key), encode(namespace), n_bytes, use),
        ).lastrowid
    else:
        id_, held = row
        connection.execute(
            "UPDATE entries SET n_bytes = ?, last_use = ? WHERE id = ?",
            (max(n_bytes, held), use, id_),
        )
        if n_bytes <= held:
            return
    connection.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?, ?)", (id_, *packed))


def _record_use(connection, namespace, keys):
    use = _next_use(connection)
    connection.executemany(
        "UPDATE entries SET last_use = ? WHERE content = ? AND network = ?",
        [(use, encode(key), encode(namespace)) for key in keys],
    )


def _next_use(connection):
    # A counter and not a time, since the clocks of several machines may differ.
    (use,) = connection.execute("SELECT COALESCE(MAX(last_use), 0) + 1 FROM entries").fetchone()
    return use


def _evict(connection, max_bytes):
    """Delete the least recently used entries until the rest fits, and the keys of their files."""
    (held,) = connection.execute("SELECT TOTAL(n_bytes) FROM entries").fetchone()
    excess = held - max_bytes
    evicted, contents = [], []
    oldest_first = f"SELECT id, {_N_BYTES}, content FROM entries ORDER BY last_use, id"
    with closing(connection.execute(oldest_first)) as rows:
        while excess > 0 and (row := rows.fetchone()):
            id_, n_bytes, content = row
            evicted.append(id_)
            contents.append((content,))
            excess -= n_bytes
    _delete_entries(connection, evicted)
    connection.executemany(
        "DELETE FROM files WHERE content = ? "
        "AND content NOT IN (SELECT content FROM entries WHERE entries.content = files.content)",
        contents,
    )


def _delete_entries(connection, ids):
    for table in ("entries", "arrays"):
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(id_,) for id_ in ids])


def as_store(memory):
    """Convert a parameter `memory` to a store.

    Parameters
    ----------
    memory : None, str, path-like, joblib.Memory or EmbeddingStore
        Folder of the store, or a `joblib.Memory`, whose subfolder `sklearn_ser` is used.

    Returns
    -------
    store : EmbeddingStore or None
        The store, or None if embeddings are not cached.

    Raises
    ------
    TypeError
        If `memory` is of another type.
    ValueError
        If `memory` is an empty path, or a `joblib.Memory` with another backend than "local".
    """
    if memory is None or isinstance(memory, EmbeddingStore):
        return memory
    if isinstance(memory, (str, os.PathLike)):
        if not os.fspath(memory):
            raise ValueError("memory is an empty path; pass a folder, or None.")
        return EmbeddingStore(memory)
    if not isinstance(memory, joblib.Memory):
        raise TypeError(
            f"memory is of type {type(memory).__name__}; None, a folder, a joblib.Memory or an "
            "EmbeddingStore is expected."
        )
    if memory.location is None:
        return None
    if memory.backend != "local":
        raise ValueError(
            f"memory is a joblib.Memory with the backend {memory.backend!r}; embeddings are kept "
            "in folders only. Pass a folder, or a joblib.Memory with the backend 'local'."
        )
    return EmbeddingStore(os.path.join(memory.location, "sklearn_ser"))
