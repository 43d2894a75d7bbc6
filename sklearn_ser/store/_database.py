"""One SQLite file that is never a reason to fail: what can't be read or written is told, once.

Why SQLite, from Python's standard library: a transaction is written whole or not at all, so
that a killed writer leaves what was there before; several processes may write; an entry comes
back in one read, as bytes, without pickles; freed space is given back; and it is as well kept
as any library. The rollback journal is used, not the write-ahead log, since that needs memory
shared by all processes, which network file systems lack; their locks are often unsound too, so
a local disk is the place for a store. A connection lives as long as one call: none is ever
carried into a forked process, another thread or a pickle.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sklearn_ser._warnings import warn

FILE = "embeddings.sqlite"
DAMAGED = f"{FILE}.damaged"
VERSION = 1  # of the tables; another number is another layout

# Small rows tell what is there, so that counting, evicting and stamping touch no arrays.
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
# Arrays of several layers take tens of kB: from the default pages of 4 kB, they come half as fast.
_PAGE_BYTES = 16384

# Transactions last for milliseconds, so that only a stopped process keeps others waiting for
# long. Whoever has waited in vain is not to wait as long again at every batch.
_PATIENCE = 60.0
_PATIENCE_AFTER_THAT = 1.0

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_told: dict[tuple[str, str], object] = {}
_waited_in_vain: set[str] = set()


class _OtherLayoutError(Exception):
    """The file is sound, but not one that this version writes."""


class _DamagedTablesError(Exception):
    """The file has no longer the tables that were made in it."""


# Where a message of SQLite quotes what is damaged, Python can't decode it.
_FAILURES = (sqlite3.Error, _DamagedTablesError, UnicodeDecodeError)


def read(location, work):
    """Call `work` with a connection for reading, if there is a file and it can be read.

    Parameters
    ----------
    location : str
        Absolute path of the folder.
    work : callable
        Takes a `sqlite3.Connection`. It keeps what it finds as it goes, since it may be cut off.
    """
    path = os.path.join(location, FILE)
    if not os.path.exists(path):
        return
    identity = _identity(path)
    try:
        _read(_connect(location), work)
    except _OtherLayoutError as error:
        _tell_unread(location, error)
    except _FAILURES as error:
        if _is_damage(error):
            _set_aside(location, identity, error)
        elif _is(error, _BUSY) or not _read_unlocked(location, work):
            _tell_unread(location, error)


def _read(connection, work):
    with closing(connection):
        if _has_tables(connection):
            work(connection)


def _read_unlocked(location, work):
    """Read what can't even be locked, such as a store that was cut off on what is now read-only.

    Whatever half-written state it is in, an entry is served only if its checksum is right.
    """
    uri = f"{Path(location, FILE).as_uri()}?mode=ro&immutable=1"
    try:
        _read(_connect(location, uri), work)
    except (_OtherLayoutError, *_FAILURES):
        return False
    return True


def write(location, work, *, silent=False):
    """Call `work` with a connection in a transaction for writing, made durable if it returns.

    Parameters
    ----------
    location : str
        Absolute path of the folder, which is made if need be.
    work : callable
        Takes a `sqlite3.Connection`. It is called anew on a fresh file if the first is damaged.
    silent : bool, default=False
        Whether to say nothing if it can't be written.
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
    except (OSError, _OtherLayoutError, *_FAILURES) as error:
        reason = _reason(location, error)
        if not silent:
            tell_once(
                location,
                "unwritten",
                f"Embeddings can't be kept in {location!r} ({reason}). The results are right, but "
                "will have to be computed again.",
            )


def _write(location, work):
    with closing(_connect(location)) as connection:
        if not _has_tables(connection):  # only now, and outside of a transaction, can these be set
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = FULL")  # gives freed space back
        connection.execute("BEGIN IMMEDIATE")
        if not _has_tables(connection):
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        work(connection)
        connection.execute("COMMIT")
        _waited_in_vain.discard(location)
        # Where this is not reached, closing the connection rolls back.


def _connect(location, uri=None):
    connection = sqlite3.connect(
        uri or os.path.join(location, FILE),
        uri=uri is not None,
        timeout=_PATIENCE_AFTER_THAT if location in _waited_in_vain else _PATIENCE,
        isolation_level=None,
    )
    connection.text_factory = bytes  # nothing to decode, so that nothing damaged fails to
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may be someone else's
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _read_layout(connection):
    """Return the number of the layout, and what made the tables, as they are at one moment."""
    begins = not connection.in_transaction
    if begins:  # or another process might make the tables in between
        connection.execute("BEGIN")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    made_by = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    tables = [sql for (sql,) in connection.execute(made_by)]
    if begins:
        connection.execute("ROLLBACK")
    return version, tables


def _has_tables(connection):
    version, tables = _read_layout(connection)
    if version == 0 and not tables:
        return False
    if version == VERSION:
        if tables != [statement.encode() for statement in _TABLES]:
            raise _DamagedTablesError("its tables are not as they were made")
        return True
    raise _OtherLayoutError(
        f"{FILE} is of layout {version}, not {VERSION}: another version of sklearn_ser made it. "
        "It is left alone; choose another folder, or delete it"
    )


def _set_aside(location, identity, error):
    """Rename a damaged file, unless another process was quicker; tell whether it is out of the way.

    Parameters
    ----------
    location : str
        Absolute path of the folder.
    identity : tuple
        Of the file in which damage was seen.
    error : Exception
        By which it was seen.
    """
    path = os.path.join(location, FILE)
    try:
        # Of those that saw the damage, one at a time: the second finds another file in place,
        # and must not set that one aside. This lock ends with its process, however it ends.
        gate = sqlite3.connect(f"{path}.lock", timeout=_PATIENCE, isolation_level=None)
        with closing(gate):
            gate.execute("BEGIN EXCLUSIVE")
            if _identity(path) == identity:
                _rename_when_unused(location)
    except (OSError, sqlite3.Error) as obstacle:
        tell_once(
            location,
            "unread",
            f"The embeddings kept in {location!r} are damaged ({error}), and can't be set aside "
            f"({_reason(location, obstacle)}). They are computed again.",
        )
        return False
    tell_once(
        location,
        "damaged file",
        f"The embeddings kept in {location!r} are damaged ({error}). The file is set aside as "
        f"{DAMAGED}; they are computed again and kept in a new one.",
    )
    return True


def _rename_when_unused(location):
    with closing(_connect(location)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")  # waits for those that did not meet the damage
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            # What can't be locked can't be in use.
        if os.name == "nt":
            connection.close()  # an open file can't be renamed there, nor one that others use
        # No journal is left: taking the lock has played it back, or deleted it if it made no
        # sense. The new file would take it for its own.
        os.replace(os.path.join(location, FILE), os.path.join(location, DAMAGED))


def _identity(path):
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_damage(error):
    return isinstance(error, (_DamagedTablesError, UnicodeDecodeError)) or _is(error, _DAMAGE)


def _is(error, codes):
    # The low byte is the kind of an error, the rest a detail of it. Errors of the module itself,
    # not of the library, have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _reason(location, error):
    if _is(error, _BUSY):
        _waited_in_vain.add(location)
        return "another process keeps it locked"
    return str(error)


def _tell_unread(location, error):
    tell_once(
        location,
        "unread",
        f"The embeddings kept in {location!r} can't be read ({_reason(location, error)}). They "
        "are computed again.",
    )


def tell_once(location, what, message):
    """Warn, if this process has not yet warned of the same about the same folder."""
    token = object()
    if _told.setdefault((location, what), token) is token:
        warn(message)
