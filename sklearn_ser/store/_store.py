"""Arrays and what is known of files, kept on disk under the name of their content."""

import os
import zlib
from contextlib import closing
from functools import partial
from numbers import Real

import joblib
import numpy as np

from . import _database
from ._content import encode

_ITEM_BYTES = 4  # of a float32

# A number, also where damage has made something else of it.
_N_BYTES = "IFNULL(CAST(n_bytes AS INTEGER), 0)"

# Rows on files take some 300 bytes each; the oldest are dropped beyond this many.
_MAX_FILES = 1_000_000


class EmbeddingStore:
    """Embeddings on disk, by content.

    Each entry is the array that one network made of one content. It is found again whatever
    file, fold, candidate, order, process or day the content comes from.

    Parameters
    ----------
    location : str or path-like
        Folder to keep the embeddings in, made at the first `save`. It should be on a local
        disk. A relative path counts from the working directory at each use.

    max_bytes : int or float, default=None
        Bytes of arrays to keep at most. After a `save`, the entries that were least recently
        saved or loaded are deleted until the rest fits. None keeps everything.

    Attributes
    ----------
    n_bytes : int
        Bytes of the arrays held.

    Notes
    -----
    The folder holds one SQLite file, `embeddings.sqlite`. Several processes and threads may
    read and write it at a time. A `save` is one transaction: if its process is killed, the
    file holds what it held before. Arrays come back in one read each, never through pickle, so
    that a store from someone else runs no code.

    The store may cost time, never a result: nothing here fails because of the disk. An entry
    whose checksum is wrong is deleted, a file that is damaged as a whole is renamed to
    `embeddings.sqlite.damaged` (in place of an earlier one), and a folder that is full,
    read-only, locked, or made by another version of this package is left as it is. A warning
    says so, once per process and folder.

    Loading needs no right to write, unless `max_bytes` is set: then it notes the use of each
    entry, if it can. What is loaded through a store without `max_bytes` is not noted, so give
    all that share a folder the same limit.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from sklearn_ser import EmbeddingStore
    >>> with TemporaryDirectory() as folder:
    ...     store = EmbeddingStore(folder)
    ...     store.save("wavlm", {"a recording": np.ones((13, 768), dtype=np.float32)})
    ...     found = store.load("wavlm", ["a recording", "another"])
    ...     print({content: array.shape for content, array in found.items()}, store.n_bytes)
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
        self.location = location
        self.max_bytes = max_bytes

    def __repr__(self):
        """Write the call that makes this store."""
        limit = "" if self.max_bytes is None else f", max_bytes={self.max_bytes!r}"
        return f"{type(self).__name__}({os.fspath(self.location)!r}{limit})"

    def load(self, network, contents):
        """Return the arrays that are held, and sound.

        Parameters
        ----------
        network : str
            What made the arrays: the network and all that shapes its output.
        contents : sequence of str
            Names of contents, as `content_key` gives them.

        Returns
        -------
        arrays : dict of str to ndarray
            Read-only, float32, of the contents that were found.
        """
        arrays, damaged = {}, set()

        def find(connection):
            for content in dict.fromkeys(contents):
                try:
                    array = _load_entry(connection, network, content)
                except _DamagedEntryError:
                    damaged.add(content)
                else:
                    if array is not None:
                        arrays[content] = array

        _database.read(self._folder, find)
        if damaged:
            self._drop_damaged(network, damaged)
        if arrays and self.max_bytes is not None:
            stamp = partial(_stamp_entries, network=network, contents=arrays)
            _database.write(self._folder, stamp, silent=True)
        return arrays

    def save(self, network, arrays):
        """Keep arrays, all or none of them.

        Of two arrays of one network and content, the larger is kept, so that a pass through
        fewer layers never takes the place of one through more.

        Parameters
        ----------
        network : str
            What made the arrays: the network and all that shapes its output.
        arrays : mapping of str to ndarray
            By the names of their contents, of any shape; kept as float32.
        """
        limit = None if self.max_bytes is None else float(self.max_bytes)
        entries = [
            (content, _pack(network, content, array))
            for content, array in arrays.items()
            if limit is None or _ITEM_BYTES * np.size(array) <= limit
        ]

        def keep(connection):
            use = _next_use(connection)
            for content, packed in entries:
                _save_entry(connection, network, content, packed, use)
            if limit is not None:
                _evict(connection, limit)

        if entries:
            _database.write(self._folder, keep)

    def known_contents(self, files):
        """Return the contents of files that are unchanged since they were remembered.

        Parameters
        ----------
        files : sequence of FileVersion
            The files as they are now.

        Returns
        -------
        contents : dict of FileVersion to str
            Of the files that were found.
        """
        contents = {}

        def find(connection):
            for file in dict.fromkeys(files):
                row = connection.execute(
                    "SELECT content FROM files WHERE path = ? AND reading = ? AND stamp = ?",
                    (encode(file.path), encode(file.decode_options), encode(file.stamp)),
                ).fetchone()
                if row is not None:
                    contents[file] = row[0].decode("utf-8", "replace")

        _database.read(self._folder, find)
        return contents

    def remember_contents(self, contents):
        """Keep the contents of files, for `known_contents`.

        Files that had only just changed when their version was taken are left out: they may
        change again without its showing.

        Parameters
        ----------
        contents : mapping of FileVersion to str
            By files as they were before they were read.
        """
        rows = [
            tuple(map(encode, (file.path, file.decode_options, file.stamp, content)))
            for file, content in contents.items()
            if file.is_settled()
        ]

        def keep(connection):
            # A row that is replaced gets a new, higher id.
            connection.executemany(
                "INSERT OR REPLACE INTO files (path, reading, stamp, content) VALUES (?, ?, ?, ?)",
                rows,
            )
            connection.execute(
                "DELETE FROM files WHERE id <= (SELECT MAX(id) FROM files) - ?", (_MAX_FILES,)
            )

        if rows:
            _database.write(self._folder, keep)

    def clear(self):
        """Delete all embeddings, and what is known of files."""

        def delete(connection):
            for table in ("entries", "arrays", "files"):
                connection.execute(f"DELETE FROM {table}")

        _database.write(self._folder, delete)

    @property
    def n_bytes(self):
        """Bytes of the arrays held."""
        return self._count("TOTAL(n_bytes)")

    def __len__(self):
        """Count the arrays held."""
        return self._count("COUNT(*)")

    def _count(self, what):
        counts = [0]

        def count(connection):
            counts.extend(connection.execute(f"SELECT {what} FROM entries").fetchone())

        _database.read(self._folder, count)
        return int(counts[-1])

    @property
    def _folder(self):
        return os.path.abspath(os.fsdecode(self.location))

    def _drop_damaged(self, network, contents):
        def drop(connection):
            for content in contents:
                try:
                    # Another process may have put a sound one in its place by now.
                    _load_entry(connection, network, content)
                except _DamagedEntryError as error:
                    _delete_entries(connection, [error.id])

        _database.write(self._folder, drop, silent=True)
        _database.tell_once(
            self._folder,
            "damaged entry",
            f"{len(contents)} of the embeddings kept in {self._folder!r} are damaged. They are "
            "deleted and computed again.",
        )


class _DamagedEntryError(Exception):
    def __init__(self, id_):
        super().__init__(id_)
        self.id = id_


def _pack(network, content, array):
    """Return the shape, the checksum and the bytes of an array."""
    array = np.asarray(array, dtype="<f4", order="C")
    shape = np.array(array.shape, dtype="<i8").tobytes()
    data = array.tobytes()
    return shape, _checksum(network, content, shape, data), data


def _checksum(network, content, shape, data):
    # Against accidents, not forgers: a CRC took a ninth of the time of BLAKE2b. With the key in
    # it, an array that turns up under another key is noticed too.
    checksum = 0
    for part in (encode(network), encode(content), shape, data):
        checksum = zlib.crc32(part, checksum)
    return checksum


def _load_entry(connection, network, content):
    """Return an array; None if there is none; raise if it isn't what was saved."""
    row = connection.execute(
        "SELECT entries.id, n_bytes, shape, checksum, data FROM entries "
        "LEFT JOIN arrays ON arrays.id = entries.id WHERE content = ? AND network = ?",
        (encode(content), encode(network)),
    ).fetchone()
    if row is None:
        return None
    id_, n_bytes, shape, checksum, data = row
    if not (isinstance(shape, bytes) and isinstance(data, bytes) and len(data) == n_bytes):
        raise _DamagedEntryError(id_)
    if _checksum(network, content, shape, data) != checksum:
        raise _DamagedEntryError(id_)
    array = np.frombuffer(data, dtype="<f4").reshape(np.frombuffer(shape, dtype="<i8"))
    return array.astype(np.float32, copy=False)


def _save_entry(connection, network, content, packed, use):
    n_bytes = len(packed[-1])
    row = connection.execute(
        f"SELECT id, {_N_BYTES} FROM entries WHERE content = ? AND network = ?",
        (encode(content), encode(network)),
    ).fetchone()
    if row is None:
        id_ = connection.execute(
            "INSERT INTO entries (content, network, n_bytes, last_use) VALUES (?, ?, ?, ?)",
            (encode(content), encode(network), n_bytes, use),
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


def _stamp_entries(connection, network, contents):
    use = _next_use(connection)
    connection.executemany(
        "UPDATE entries SET last_use = ? WHERE content = ? AND network = ?",
        [(use, encode(content), encode(network)) for content in contents],
    )


def _next_use(connection):
    # Uses are counted, not timed: clocks of several machines, or one set back, would mislead.
    (use,) = connection.execute("SELECT COALESCE(MAX(last_use), 0) + 1 FROM entries").fetchone()
    return use


def _evict(connection, max_bytes):
    """Delete the least recently used entries until the rest fits, and forget their files."""
    (held,) = connection.execute("SELECT TOTAL(n_bytes) FROM entries").fetchone()
    excess = held - max_bytes
    leaving, contents = [], []
    oldest_first = f"SELECT id, {_N_BYTES}, content FROM entries ORDER BY last_use, id"
    with closing(connection.execute(oldest_first)) as rows:
        while excess > 0 and (row := rows.fetchone()):
            id_, n_bytes, content = row
            leaving.append(id_)
            contents.append((content,))
            excess -= n_bytes
    _delete_entries(connection, leaving)
    connection.executemany(
        "DELETE FROM files WHERE content = ? "
        "AND content NOT IN (SELECT content FROM entries WHERE entries.content = files.content)",
        contents,
    )


def _delete_entries(connection, ids):
    for table in ("entries", "arrays"):
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(id_,) for id_ in ids])


def as_store(memory):
    """Return the store that a parameter `memory` stands for.

    Parameters
    ----------
    memory : None, str, path-like, joblib.Memory or EmbeddingStore
        A folder, or a `joblib.Memory`, in whose folder the store takes a subfolder
        `sklearn_ser`.

    Returns
    -------
    store : EmbeddingStore or None
        None if nothing is to be kept.

    Raises
    ------
    TypeError
        If `memory` is of another type.
    ValueError
        If it is an empty path, or a `joblib.Memory` that is not kept in a folder.
    """
    if memory is None or isinstance(memory, EmbeddingStore):
        return memory
    if isinstance(memory, (str, os.PathLike)):
        if not os.fspath(memory):
            raise ValueError("memory is an empty path; name a folder, or pass None.")
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
