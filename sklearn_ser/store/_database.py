"""Read and write one SQLite file; failures give one warning instead of an error.

SQLite is part of Python's standard library. Its transactions are atomic, so that a killed writer
leaves the file unchanged; several processes may write; an entry is returned by one read, as bytes,
without pickle; and freed space is returned to the file system. The rollback journal is used and
not the write-ahead log, which needs shared memory and so does not work on network file systems.
Their locks are often unreliable too, so that a store should be on a local disk. Each call opens its
own connection, so that none is shared with a forked process, another thread or a pickle.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sklearn_ser._warnings import warn

FILE = "embeddings.sqlite"
DAMAGED = f"{FILE}.damaged"
VERSION = 1  # of the layout of the tables

# Metadata are kept apart from the arrays, so that counting and eviction do not read arrays. The
# column `network` holds the namespace of an entry, `content` its key, and `reading` the decoding
# options of a file.
_TABLES = (
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        content BLOB NOT NULL,
        network BLOB NOT NULL,
        n_bytes INTEGER NOT NULL,
        last_use INTEGER NOT NULL,
        UNIQUE (content, network))""",
    "CREATE INDEX entries_by_use ON entries (last_use, id)",
    """CREATE TABLE arrays (
        id INTEGER PRIMARY KEY,
        shape BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL)""",
    """CREATE TABLE files (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL,
        reading BLOB NOT NULL,
        stamp BLOB NOT NULL,
        content BLOB NOT NULL,
        UNIQUE (path, reading))""",
    "CREATE INDEX files_by_content ON files (content)",
)
# Arrays of several layers take tens of kB; reading them from the default pages of 4 kB takes twice
# as long.
_PAGE_BYTES = 16384

# Timeouts for locks, in seconds. Transactions take milliseconds, so that only a stopped process
# holds a lock for long. After a first timeout, later calls wait for a shorter time: there may be
# one for each batch.
_TIMEOUT = 10.0
_TIMEOUT_AFTER_FAILURE = 0.1

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_warned: dict[tuple[str, str], object] = {}
_timed_out: set[str] = set()


class _OtherLayoutError(Exception):
    """The file is valid, but of a layout that this version does not support."""


class _DamagedTablesError(Exception):
    """The tables of the file are not those that were created."""


# UnicodeDecodeError: a message of SQLite may quote damaged bytes.
_FAILURES = (sqlite3.Error, _DamagedTablesError, UnicodeDecodeError)


def read(location, work):
    """Call a function with a connection for reading, if the file exists and can be read.

    Parameters
    ----------
    location : str
        Absolute path of the folder.
    work : callable
        Function of a `sqlite3.Connection`. It may be interrupted by an error, so it should store
        results one by one.
    """
    path = os.path.join(location, FILE)
    if not os.path.exists(path):
        return
    identity = _identity(path)
    try:
        _read(_connect(location), work)
    except _OtherLayoutError as error:
        _warn_unreadable(location, error)
    except _FAILURES as error:
        if _is_damage(error):
            _set_aside(location, identity, error)
        elif _has_code(error, _BUSY):
            _warn_locked(location)
        elif not _read_unlocked(location, work):
            _warn_unreadable(location, error)


def _read(connection, work):
    with closing(connection):
        if _has_tables(connection):
            work(connection)


def _read_unlocked(location, work):
    """Read a file that can't be locked, such as a read-only one with a leftover journal.

    The file may be half-written; entries are returned only if their checksums are correct.
    """
    uri = f"{Path(location, FILE).as_uri()}?mode=ro&immutable=1"
    try:
        _read(_connect(location, uri), work)
    except (_OtherLayoutError, *_FAILURES):
        return False
    return True


def write(location, work, *, silent=False):
    """Call a function with a connection in a transaction, and commit if it returns.

    Parameters
    ----------
    location : str
        Absolute path of the folder, which is created if needed.
    work : callable
        Function of a `sqlite3.Connection`. If the file is damaged, it is called again on a new
        file.
    silent : bool, default=False
        If True, do not warn if the file can't be written.
    """
    identity = None
    try:
        os.makedirs(location, exist_ok=True)
        identity = _identity(os.path.join(location, FILE))
        try:
            _write(location, work)
        except _FAILURES as error:
            if not _is_damage(error) or not _set_aside(location, identity, error):
                raise
            _write(location, work)
    except RecursionError:
        _warn_unwritable(location, "it is in too many folders", silent)
    except (OSError, _OtherLayoutError, *_FAILURES) as error:
        if _has_code(error, _BUSY):
            _warn_locked(location, silent)
        else:
            _warn_unwritable(location, error, silent)


def _write(location, work):
    with closing(_connect(location)) as connection:
        if not _has_tables(
            connection
        ):  # these can only be set before, and outside of a transaction
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = FULL")  # returns freed space
        connection.execute("BEGIN IMMEDIATE")
        if not _has_tables(connection):
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        work(connection)
        connection.execute("COMMIT")
        _timed_out.discard(location)
        # On an error, closing the connection rolls back.


def _connect(location, uri=None):
    path = os.path.join(location, FILE)
    if os.path.exists(path) and not os.path.isfile(path):  # opening a named pipe would block
        raise sqlite3.OperationalError(f"{FILE} is not a regular file")
    connection = sqlite3.connect(
        uri or path,
        uri=uri is not None,
        timeout=_TIMEOUT_AFTER_FAILURE if location in _timed_out else _TIMEOUT,
        isolation_level=None,
    )
    connection.text_factory = bytes  # damaged text may not be valid Unicode
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from someone else
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _read_layout(connection):
    """Return the version of the layout and the SQL of the tables, read in one transaction."""
    begins = not connection.in_transaction
    if begins:  # so that no other process creates the tables between the two queries
        connection.execute("BEGIN")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    tables = [sql for (sql,) in connection.execute(query)]
    if begins:
        connection.execute("ROLLBACK")
    return version, tables


def _has_tables(connection):
    version, tables = _read_layout(connection)
    if version == 0 and not tables:
        return False
    if version == VERSION:
        if tables != [statement.encode() for statement in _TABLES]:
            raise _DamagedTablesError("its tables are not those that were created")
        return True
    raise _OtherLayoutError(
        f"{FILE} is of layout {version}, not {VERSION}: another version of sklearn_ser made it. "
        "It is left unchanged; choose another folder, or delete it"
    )


def _set_aside(location, identity, error):
    """Rename a damaged file unless another process has done so; return whether it is renamed.

    Parameters
    ----------
    location : str
        Absolute path of the folder.
    identity : tuple
        Device and inode of the damaged file.
    error : Exception
        Error by which the damage was detected.
    """
    path = os.path.join(location, FILE)
    try:
        # One process at a time: later ones find a new file in place, which they must not rename.
        # This lock is released when its process ends for any reason.
        gate = sqlite3.connect(f"{path}.lock", timeout=_TIMEOUT, isolation_level=None)
        with closing(gate):
            gate.execute("BEGIN EXCLUSIVE")
            if _identity(path) == identity:
                _rename_when_unused(location)
    except (OSError, sqlite3.Error) as obstacle:
        warn_once(
            location,
            "unreadable",
            f"The embeddings kept in {location!r} are damaged ({error}), and can't be set aside "
            f"({obstacle}). They are computed again.",
        )
        return False
    warn_once(
        location,
        "damaged file",
        f"The embeddings kept in {location!r} are damaged ({error}). The file is set aside as "
        f"{DAMAGED}; they are computed again and kept in a new file.",
    )
    return True


def _rename_when_unused(location):
    with closing(_connect(location)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")  # waits for other users of the file
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            # A file that can't be locked is not in use.
        if os.name == "nt":
            connection.close()  # Windows can't rename an open file
        # No journal is left, which SQLite would apply to the new file: taking the lock has replayed
        # it, or deleted it if it was invalid.
        os.replace(os.path.join(location, FILE), os.path.join(location, DAMAGED))


def _identity(path):
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_damage(error):
    return isinstance(error, (_DamagedTablesError, UnicodeDecodeError)) or _has_code(error, _DAMAGE)


def _has_code(error, codes):
    # The low byte is the primary result code. Errors of the Python module have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _warn_unreadable(location, error):
    warn_once(
        location,
        "unreadable",
        f"The embeddings kept in {location!r} can't be read ({error}). They are computed again.",
    )


def _warn_unwritable(location, error, silent):
    if not silent:
        warn_once(
            location,
            "not writable",
            f"Embeddings can't be kept in {location!r} ({error}). The results are correct, but "
            "have to be computed again next time.",
        )


def _warn_locked(location, silent=False):
    """Warn once for reading and writing, and wait for a shorter time from now on."""
    _timed_out.add(location)
    if not silent:
        warn_once(
            location,
            "locked",
            f"Another process keeps the embeddings in {location!r} locked. The results are "
            "correct, but are computed again, and may not be kept.",
        )


def warn_once(location, kind, message):
    """Warn unless this process has already issued the same kind of warning for the folder."""
    token = object()
    if _warned.setdefault((location, kind), token) is token:
        warn(message)
