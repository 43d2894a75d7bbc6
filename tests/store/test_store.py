"""EmbeddingStore: exact round trips, concurrency, damaged files and unwritable disks."""

import copy
import os
import pickle
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import closing, contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest

from sklearn_ser.store import EmbeddingStore, FileVersion, as_store, content_key
from sklearn_ser.store import _database as database
from sklearn_ser.store import _files as files_module
from sklearn_ser.store import _loaded as loaded_module
from sklearn_ser.store import _store as store_module

NAMESPACE = "wavlm-base, revision 1, float32"
SETTLED = 10**18 + 1  # a time in 2001, with a fraction of a second


@pytest.fixture(autouse=True)
def fresh_warnings(monkeypatch):
    """Forget which warnings this process has issued."""
    monkeypatch.setattr(database, "_warned", {})
    monkeypatch.setattr(database, "_timed_out", set())


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


@pytest.fixture
def quiet():
    """Fail on any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make(*names, shape=(13, 768)):
    """Return a different array for each name."""
    return {
        name: np.random.default_rng(list(name.encode())).standard_normal(shape).astype(np.float32)
        for name in names
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def path_of(store):
    return Path(store.location, "embeddings.sqlite")


def change(store, statement, *values):
    """Change the file without the store."""
    with closing(sqlite3.connect(path_of(store))) as connection, connection:
        changed = connection.execute(statement, values)
        assert changed.rowcount != 0


def read(store, query):
    with closing(sqlite3.connect(path_of(store))) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def warns_once(pattern):
    """Require exactly one warning over all calls in the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    (warning,) = caught
    assert re.search(pattern, str(warning.message))
    assert warning.filename == __file__


def start(code, *arguments):
    """Start code in another process."""
    code = f"import sys\nfrom sklearn_ser.store import *\nimport numpy as np\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output.split()


# --- Saving and loading -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(13, 768), (768,), (1,), (), (0,), (3, 0, 2), (2, 3, 5, 7)])
def test_arrays_round_trip_exactly(store, quiet, shape):
    arrays = make("a", shape=shape)
    store.save(NAMESPACE, arrays)
    assert_same(store.load(NAMESPACE, ["a"]), arrays)


def test_nan_infinity_and_subnormal_numbers_round_trip(store):
    array = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], dtype=np.float32)
    store.save(NAMESPACE, {"a": array})
    assert_same(store.load(NAMESPACE, ["a"]), {"a": array})


def test_memory_layout_does_not_matter(store):
    array = make("a")["a"]
    store.save(NAMESPACE, {"fortran": np.asfortranarray(array), "strided": array[::2, ::-3]})
    expected = {"fortran": array, "strided": array[::2, ::-3].copy()}
    assert_same(store.load(NAMESPACE, ["fortran", "strided"]), expected)


def test_only_saved_keys_are_found(store, quiet):
    assert store.load(NAMESPACE, ["a"]) == {}
    assert not path_of(store).exists()
    arrays = make("a", "b")
    store.save(NAMESPACE, arrays)
    assert_same(store.load(NAMESPACE, ["b", "c", "a", "b"]), arrays)
    assert store.load("another namespace", ["a"]) == {}
    assert store.load(NAMESPACE, []) == {}


def test_entries_and_bytes_are_counted(store, quiet):
    assert (len(store), store.n_bytes) == (0, 0)
    store.save(NAMESPACE, make("a", "b", shape=(13, 5)))
    store.save("another namespace", make("a", shape=(5,)))
    assert (len(store), store.n_bytes) == (3, 4 * (13 * 5 * 2 + 5))


def test_saving_nothing_creates_no_folder(store):
    store.save(NAMESPACE, {})
    store.remember_contents({})
    assert not os.path.exists(store.location)


def test_clearing_deletes_all_entries_and_frees_space(store):
    store.save(NAMESPACE, make(*map(str, range(20))))
    file = FileVersion("/a.wav", "", 1, 1, SETTLED, SETTLED)
    store.remember_contents({file: "0"})
    full = path_of(store).stat().st_size
    store.clear()
    assert (len(store), store.n_bytes, store.known_contents([file])) == (0, 0, {})
    assert path_of(store).stat().st_size < full / 5
    store.save(NAMESPACE, make("a"))
    assert_same(store.load(NAMESPACE, ["a"]), make("a"))


def test_the_larger_of_two_arrays_is_kept(store):
    deep, shallow = make("a", shape=(13, 8)), make("a", shape=(7, 8))
    store.save(NAMESPACE, shallow)
    store.save(NAMESPACE, deep)
    assert_same(store.load(NAMESPACE, ["a"]), deep)
    store.save(NAMESPACE, shallow)
    assert_same(store.load(NAMESPACE, ["a"]), deep)
    assert store.n_bytes == deep["a"].nbytes


@pytest.mark.slow
def test_thousands_of_keys_are_one_call(store):
    arrays = make(*map(str, range(33_000)), shape=(2,))
    store.save(NAMESPACE, arrays)
    assert_same(store.load(NAMESPACE, list(arrays)), arrays)


def test_no_pickle_is_written_or_read(store, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("pickled")

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with monkeypatch.context() as patch:
        for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
            patch.setattr(pickle, name, fail)
        store.save(NAMESPACE, {"a": array})
        assert_same(store.load(NAMESPACE, ["a"]), {"a": array})
    assert read(store, "SELECT data FROM arrays") == [(array.astype("<f4").tobytes(),)]
    # Every protocol since 2 begins so, and every pickle ends in a dot.
    stored = path_of(store).read_bytes()
    assert not any(bytes([0x80, protocol]) in stored for protocol in range(2, 6))
    assert b"numpy" not in stored


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))]
)
def test_a_copy_of_the_store_uses_the_same_folder(store, duplicate):
    store.save(NAMESPACE, make("a"))
    other = duplicate(EmbeddingStore(store.location, max_bytes=10**6))
    assert vars(other) == {"location": store.location, "max_bytes": 10**6}
    assert_same(other.load(NAMESPACE, ["a"]), make("a"))


def test_repr_is_the_call_that_creates_the_store(tmp_path):
    assert repr(EmbeddingStore("cache")) == "EmbeddingStore('cache')"
    assert (
        repr(EmbeddingStore(Path("cache"), max_bytes=7)) == "EmbeddingStore('cache', max_bytes=7)"
    )


@pytest.mark.parametrize("max_bytes", [-1, "1 GB", float("nan")])
def test_an_invalid_limit_raises(max_bytes):
    with pytest.raises(ValueError, match=r"max_bytes is .*at least 0, or None"):
        EmbeddingStore("cache", max_bytes=max_bytes)


def test_an_invalid_location_raises():
    with pytest.raises(TypeError, match="location is of type NoneType"):
        EmbeddingStore(None)
    for location in ("a\0b", Path("a\0b")):
        with pytest.raises(ValueError, match="can't have NUL characters"):
            as_store(location)


@pytest.mark.parametrize("depth", [1500, 5000])
def test_a_location_in_too_many_folders_raises_no_error(tmp_path, depth):
    store = EmbeddingStore(f"{tmp_path}{'/a' * depth}")
    assert_not_saved_with_one_warning(store)
    assert list(tmp_path.iterdir()) == []


def test_special_characters_in_names(tmp_path):
    store = EmbeddingStore(tmp_path / "50% #1? ü")
    namespace = os.fsdecode(b"/models/\xff")
    store.save(namespace, make("a"))
    assert_same(store.load(namespace, ["a"]), make("a"))


# --- Concurrency ------------------------------------------------------------------------------

SAVE_HUNDREDS = """
first = int(sys.argv[2])
store = EmbeddingStore(sys.argv[1])
for i in range(first, first + 150, 5):
    store.save("n", {str(k): np.full((13, 64), k, dtype=np.float32) for k in range(i, i + 5)})
"""


@pytest.mark.slow
def test_processes_may_write_at_the_same_time(store):
    # Neighbours share half of their keys; no file exists at the start.
    for process in [start(SAVE_HUNDREDS, store.location, 75 * i) for i in range(4)]:
        finish(process)
    expected = {str(k): np.full((13, 64), k, dtype=np.float32) for k in range(375)}
    assert_same(store.load("n", list(expected)), expected)
    assert len(store) == 375
    assert read(store, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_processes_that_find_damage_at_the_same_time_lose_no_new_entry(store):
    Path(store.location).mkdir()
    path_of(store).write_bytes(b"garbage" * 1000)
    for process in [start(SAVE_HUNDREDS, store.location, 150 * i) for i in range(4)]:
        finish(process)
    assert len(store.load("n", [str(k) for k in range(600)])) == 600
    assert Path(store.location, "embeddings.sqlite.damaged").read_bytes() == b"garbage" * 1000


@pytest.mark.slow
def test_threads_may_share_a_store(store):
    store = EmbeddingStore(store.location, max_bytes=10**9)
    arrays = make(*map(str, range(80)), shape=(20,))
    failures = []

    def work(first):
        try:
            for name in map(str, range(first, first + 10)):
                store.save(NAMESPACE, {name: arrays[name]})
                assert_same(store.load(NAMESPACE, [name]), {name: arrays[name]})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert_same(store.load(NAMESPACE, list(arrays)), arrays)


STOP_IN_THE_MIDDLE = """
import time
from sklearn_ser.store import _store
store = EmbeddingStore(sys.argv[1])
arrays = {str(k): np.full((13, 768), k, dtype=np.float32) for k in range(300)}
for k in range(0, 100, 10):
    store.save("n", {str(k): arrays[str(k)] for k in range(k, k + 10)})
save, n_saved = _store._save_entry, 0
def save_some(*args):
    global n_saved
    save(*args)
    n_saved += 1
    if n_saved == 150:
        print("now", flush=True)
        time.sleep(600)
_store._save_entry = save_some
store.save("n", {str(k): arrays[str(k)] for k in range(100, 300)})
"""


@pytest.fixture
def killed(store):
    """Return a store whose writer was killed in the middle of a transaction."""
    process = start(STOP_IN_THE_MIDDLE, store.location)
    assert process.stdout.readline() == "now\n"
    # More was changed than SQLite buffers in memory: the file itself is half-written.
    assert Path(f"{path_of(store)}-journal").stat().st_size > 0
    assert path_of(store).stat().st_size > 1.3 * 100 * 13 * 768 * 4
    os.kill(process.pid, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.communicate()
    return store


COMMITTED = {str(k): np.full((13, 768), k, dtype=np.float32) for k in range(100)}


def test_a_killed_writer_leaves_what_was_committed(killed, quiet):
    assert_same(killed.load("n", list(map(str, range(300)))), COMMITTED)
    assert read(killed, "PRAGMA integrity_check") == [("ok",)]
    killed.save("n", make("200"))
    assert_same(killed.load("n", ["99", "200", "201"]), {"99": COMMITTED["99"], **make("200")})


# --- Damage -----------------------------------------------------------------------------------


def flip_a_byte(store, column, content):
    """Flip one bit in the middle of a column of one entry."""
    condition = f"id = (SELECT id FROM entries WHERE content = CAST('{content}' AS BLOB))"
    ((value,),) = read(store, f"SELECT {column} FROM arrays WHERE {condition}")
    value = bytearray(value)
    value[len(value) // 2] ^= 1
    change(store, f"UPDATE arrays SET {column} = ? WHERE {condition}", bytes(value))


DAMAGES = {
    "a bit of the array": lambda store: flip_a_byte(store, "data", "b"),
    "a bit of the shape": lambda store: flip_a_byte(store, "shape", "b"),
    "the checksum": lambda store: change(store, "UPDATE arrays SET checksum = 1 WHERE id = 2"),
    "the shape, gone": lambda store: change(store, "UPDATE arrays SET shape = 7 WHERE id = 2"),
    "the array, short": lambda store: change(
        store, "UPDATE arrays SET data = substr(data, 1, 400) WHERE id = 2"
    ),
    "the array, gone": lambda store: change(store, "DELETE FROM arrays WHERE id = 2"),
    "the size": lambda store: change(store, "UPDATE entries SET n_bytes = 1 WHERE id = 2"),
    "the array of another": lambda store: change(
        store,
        "REPLACE INTO arrays SELECT 2, shape, checksum, data FROM arrays WHERE id = 1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_warns_once_and_is_replaced(store, damage):
    arrays = make("a", "b", "c")
    store.save(NAMESPACE, arrays)
    sound = {name: arrays[name] for name in "ac"}
    damage(store)
    with warns_once(r"1 of the embeddings kept in '.*store' are damaged"):
        assert_same(store.load(NAMESPACE, ["a", "b", "c"]), sound)
    assert len(store) == 2
    store.save(NAMESPACE, {"b": arrays["b"]})
    assert_same(store.load(NAMESPACE, ["a", "b", "c"]), arrays)
    flip_a_byte(store, "data", "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(store.load(NAMESPACE, ["a"]), {})


def forge(store, shape, data):
    """Replace the array of "b" by another one, with a correct checksum."""
    shape = np.array(shape, "<i8").tobytes() if isinstance(shape, tuple) else shape
    checksum = store_module._checksum(NAMESPACE, "b", shape, data)
    change(store, "UPDATE entries SET n_bytes = ? WHERE id = 2", len(data))
    change(store, "REPLACE INTO arrays VALUES (2, ?, ?, ?)", shape, checksum, data)


FORGERIES = {
    "too many values": ((3, 100), bytes(400)),
    "too few values": ((3,), bytes(400)),
    "a negative size": ((-1,), bytes(400)),
    "two negative sizes": ((-5, -20), bytes(400)),
    "sizes that overflow": ((2**62, 4), b""),
    "half a size": (b"1234", bytes(400)),
    "half a value": ((100,), bytes(402)),
    "many axes": ((1,) * 100, bytes(4)),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_entry_is_damaged(store, forgery):
    arrays = make("a", "b")
    store.save(NAMESPACE, arrays)
    forge(store, *forgery)
    with warns_once("1 of the embeddings kept in .* are damaged"):
        assert_same(store.load(NAMESPACE, ["a", "b"]), {"a": arrays["a"]})
    store.save(NAMESPACE, arrays)
    assert_same(store.load(NAMESPACE, ["a", "b"]), arrays)


def test_an_entry_that_fails_a_check_is_damaged(store):
    arrays = make("a", "b")
    store.save(NAMESPACE, arrays | {"b": arrays["b"][:, :7]})
    with warns_once("1 of the embeddings kept in .* are damaged"):
        found = store.load(NAMESPACE, ["a", "b"], lambda array: array.shape[1] == 768)
    assert_same(found, {"a": arrays["a"]})
    store.save(NAMESPACE, arrays)  # also if the other one was larger
    assert_same(store.load(NAMESPACE, ["a", "b"]), arrays)


def test_an_entry_repaired_by_another_process_is_kept(store, monkeypatch):
    arrays = make("a")
    store.save(NAMESPACE, arrays)
    flip_a_byte(store, "data", "a")
    write = database.write

    def repair_first(location, work, **kwargs):
        monkeypatch.setattr(database, "write", write)
        store.clear()
        store.save(NAMESPACE, arrays)
        write(location, work, **kwargs)

    monkeypatch.setattr(database, "write", repair_first)
    with pytest.warns(UserWarning, match="damaged"):
        assert store.load(NAMESPACE, ["a"]) == {}
    assert_same(store.load(NAMESPACE, ["a"]), arrays)


def spoil_garbage(path):
    path.write_bytes(b"no database at all" * 100)


def spoil_by_truncation(path):
    os.truncate(path, path.stat().st_size // 2)


def spoil_to_one_page(path):
    os.truncate(path, 5000)


def spoil_the_pages(path):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + b"\xa5" * (size - 100))


@pytest.mark.parametrize(
    "spoil", [spoil_garbage, spoil_by_truncation, spoil_to_one_page, spoil_the_pages]
)
@pytest.mark.parametrize("first", ["load", "save"])
def test_a_damaged_file_is_set_aside_and_replaced(store, spoil, first):
    store.save(NAMESPACE, make(*map(str, range(50))))
    spoil(path_of(store))
    Path(f"{path_of(store)}-journal").write_bytes(b"")
    spoilt = path_of(store).read_bytes()
    with warns_once(r"damaged \(.*set aside as embeddings\.sqlite"):
        if first == "load":
            assert store.load(NAMESPACE, ["0", "1"]) == {}
        store.save(NAMESPACE, make("a"))
    assert_same(store.load(NAMESPACE, ["0", "a"]), make("a"))
    set_aside = Path(store.location, "embeddings.sqlite.damaged").read_bytes()
    assert content_key(set_aside) == content_key(spoilt)
    # The same process does not warn again.
    spoil_garbage(path_of(store))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.known_contents([FileVersion("/a", "", 1, 1, 1, 1)]) == {}
        store.save(NAMESPACE, make("b"))
    assert_same(store.load(NAMESPACE, ["a", "b"]), make("b"))


def test_the_journal_of_a_damaged_file_is_not_applied_to_the_new_one(killed):
    os.truncate(path_of(killed), 100 * 16384)
    path_of(killed).write_bytes(b"garbage" + path_of(killed).read_bytes()[7:])
    journal = Path(f"{path_of(killed)}-journal")
    journal.write_bytes(b"garbage" + journal.read_bytes()[7:])
    with pytest.warns(UserWarning, match="set aside"):
        assert killed.load("n", ["1"]) == {}
    assert not journal.exists()
    killed.save("n", make("1"))
    assert_same(killed.load("n", ["1", "2"]), make("1"))


def test_a_late_process_does_not_set_aside_the_new_file(store):
    store.save(NAMESPACE, make("a"))
    spoil_garbage(path_of(store))
    seen = database._identity(path_of(store))
    with pytest.warns(UserWarning, match="set aside"):
        store.save(NAMESPACE, make("b"))
    database._warned.clear()
    # Another process that saw the same damage, and was delayed.
    with pytest.warns(UserWarning, match="set aside"):
        database._set_aside(os.fspath(store.location), seen, sqlite3.DatabaseError("late"))
    assert_same(store.load(NAMESPACE, ["b"]), make("b"))
    assert path_of(store).with_suffix(".sqlite.damaged").read_bytes().startswith(b"no database")


def test_a_damaged_file_that_cannot_be_set_aside_raises_no_error(store, monkeypatch):
    store.save(NAMESPACE, make("a"))
    spoil_garbage(path_of(store))

    def fail(*args):
        raise PermissionError("no right to rename")

    monkeypatch.setattr(database.os, "replace", fail)
    with warns_once(r"not a database.*can't be set aside \(no right"):
        assert store.load(NAMESPACE, ["a"]) == {}
        assert store.load(NAMESPACE, ["a"]) == {}
        assert len(store) == 0
    with pytest.warns(UserWarning, match=r"can't be kept in .*not a database"):
        store.save(NAMESPACE, make("a"))


@pytest.mark.slow
def test_flipped_bytes_anywhere_give_no_wrong_array_and_no_error(tmp_path):
    arrays = make(*(f"recording {i}" for i in range(40)), shape=(3, 200))
    file = FileVersion("/a.wav", "16000 Hz", 1, 1, SETTLED, SETTLED)
    sound = EmbeddingStore(tmp_path / "sound")
    sound.save(NAMESPACE, arrays)
    sound.remember_contents({file: "recording 1"})
    sound = path_of(sound).read_bytes()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        store = EmbeddingStore(tmp_path / str(seed), max_bytes=10**6)
        spoilt = np.frombuffer(sound, dtype=np.uint8).copy()
        # The headers of pages, and random positions.
        starts = rng.integers(1, spoilt.size // 16384, 5) * 16384 + rng.integers(0, 60, 5)
        where = np.concatenate([starts, rng.integers(100, spoilt.size, 20)])
        spoilt[where] ^= rng.integers(1, 256, where.size, dtype=np.uint8)
        os.mkdir(store.location)
        path_of(store).write_bytes(spoilt.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Each iteration may find damage that earlier ones did not reach.
            for _ in range(8):
                found = store.load(NAMESPACE, list(arrays))
                assert_same(found, {name: arrays[name] for name in found})
                store.known_contents([file])
                store.remember_contents({file: "recording 1"})
                store.save(NAMESPACE, arrays)
                assert len(store) >= 0
        assert_same(store.load(NAMESPACE, list(arrays)), arrays)


# --- Disks that can't be written or read ------------------------------------------------------


@contextmanager
def without_privileges():
    """Act as another user than the superuser, who may write everywhere."""
    if os.name != "posix":
        pytest.skip("the permissions of folders have no effect on this system")
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only(killed):
    """Return a store of a killed writer in a read-only folder."""
    folder = Path(tempfile.mkdtemp())
    for suffix in ("", "-journal"):
        shutil.copy(f"{path_of(killed)}{suffix}", folder)
    folder.chmod(0o555)
    (folder / "embeddings.sqlite").chmod(0o444)
    (folder / "embeddings.sqlite-journal").chmod(0o444)
    yield EmbeddingStore(folder, max_bytes=10**9)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def assert_not_saved_with_one_warning(store):
    file = FileVersion("/a", "", 1, 1, SETTLED, SETTLED)
    where = re.escape(repr(os.fspath(store.location)))
    with warns_once(rf"can't be kept in {where} \(.+\)\. The results are correct"):
        store.save(NAMESPACE, make("new"))
        store.save(NAMESPACE, make("new"))
        store.remember_contents({file: "content"})
        store.clear()
    assert store.load(NAMESPACE, ["new"]) == {}
    assert store.known_contents([file]) == {}


def test_a_read_only_store_can_be_loaded(read_only):
    with without_privileges():
        with pytest.raises(PermissionError):
            Path(read_only.location, "probe").touch()
        # The journal of the killed writer can't be replayed; undamaged entries are still loaded.
        found = read_only.load("n", list(COMMITTED))
        assert_same(found, {name: COMMITTED[name] for name in found})
        assert len(found) >= 90
        assert_not_saved_with_one_warning(read_only)
        assert_same(read_only.load("n", ["7"]), {"7": COMMITTED["7"]})


def test_an_undamaged_read_only_store_loads_without_warning(read_only, quiet):
    Path(f"{path_of(read_only)}-journal").unlink()
    path_of(read_only).unlink()
    EmbeddingStore(read_only.location).save(NAMESPACE, make("a"))
    os.chmod(path_of(read_only), 0o444)
    with without_privileges():
        assert_same(read_only.load(NAMESPACE, ["a", "b"]), make("a"))
        assert len(read_only) == 1


def test_a_store_without_read_permission_raises_no_error(read_only):
    path_of(read_only).chmod(0)
    with without_privileges(), warns_once(r"can't be read \(unable to open"):
        assert read_only.load("n", ["1"]) == {}
        assert read_only.load("n", ["1"]) == {}


def test_a_named_pipe_in_place_of_the_file_raises_no_error(tmp_path):
    os.mkfifo(tmp_path / "embeddings.sqlite")
    store = EmbeddingStore(tmp_path)
    with warns_once("not a regular file"):
        assert store.load("n", ["1"]) == {}
    with warns_once("not a regular file"):
        store.save("n", {"1": np.zeros(3)})


@pytest.mark.parametrize("where", ["file", "file/below", "file/far/below"])
def test_a_location_that_is_not_a_folder_raises_no_error(tmp_path, where):
    (tmp_path / "file").write_text("not a folder")
    assert_not_saved_with_one_warning(EmbeddingStore(tmp_path / where))
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no such file system here")
def test_a_file_system_without_new_folders_raises_no_error():
    assert_not_saved_with_one_warning(EmbeddingStore("/proc/store"))


def test_a_full_disk_raises_no_error(store, monkeypatch):
    store.save(NAMESPACE, make("a"))
    connect = database._connect

    def connect_to_full_disk(*args):
        connection = connect(*args)
        connection.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the current size
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(database, "_connect", connect_to_full_disk)
        with warns_once(r"can't be kept in .*disk is full"):
            store.save(NAMESPACE, make(*"bcdef"))
            store.save(NAMESPACE, make(*"bcdef"))
        assert_same(store.load(NAMESPACE, list("abcdef")), make("a"))
    store.save(NAMESPACE, make("b"))
    assert_same(store.load(NAMESPACE, ["a", "b"]), make("a", "b"))


def test_a_lock_that_is_never_released_raises_no_error(store, monkeypatch):
    monkeypatch.setattr(database, "_TIMEOUT", 0.5)
    monkeypatch.setattr(database, "_TIMEOUT_AFTER_FAILURE", 0.01)
    store.save(NAMESPACE, make("a"))
    with closing(sqlite3.connect(path_of(store), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        # One warning for reading and writing.
        with warns_once(r"Another process keeps the embeddings in .*store' locked"):
            store.save(NAMESPACE, make("b"))
            waited = time.monotonic() - began
            # After the first timeout, later calls wait for a shorter time.
            assert store.load(NAMESPACE, ["a"]) == {}
            store.save(NAMESPACE, make("b"))
        assert waited >= 0.5
        assert time.monotonic() - began < waited + 0.4
    store.save(NAMESPACE, make("b"))
    assert_same(store.load(NAMESPACE, ["a", "b"]), make("a", "b"))
    assert not database._timed_out


def test_a_lock_costs_seconds():
    n_batches = 30
    assert database._TIMEOUT + n_batches * database._TIMEOUT_AFTER_FAILURE <= 15


def test_a_lock_that_is_released_is_waited_for(store, quiet):
    store.save(NAMESPACE, make("a"))
    other = sqlite3.connect(path_of(store), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.3, other.close)
    timer.start()
    store.save(NAMESPACE, make("b"))
    timer.join()
    assert_same(store.load(NAMESPACE, ["a", "b"]), make("a", "b"))


@pytest.mark.parametrize(
    "script", ["PRAGMA user_version = 99", "DROP TABLE files; PRAGMA user_version = 0"]
)
def test_a_file_of_another_layout_is_left_unchanged(store, script):
    store.save(NAMESPACE, make("a"))
    with closing(sqlite3.connect(path_of(store))) as connection:
        connection.executescript(script)
    before = content_key(path_of(store).read_bytes())
    with warns_once(r"can't be read .*another version of sklearn_ser made it"):
        assert store.load(NAMESPACE, ["a"]) == {}
        assert len(store) == 0
    with warns_once(r"can't be kept .*another version of sklearn_ser made it"):
        store.save(NAMESPACE, make("b"))
        store.clear()
    assert content_key(path_of(store).read_bytes()) == before
    assert os.listdir(store.location) == ["embeddings.sqlite"]


# --- Limited size -----------------------------------------------------------------------------

N_BYTES = 13 * 768 * 4


def held(store, names):
    return "".join(sorted(EmbeddingStore(store.location).load(NAMESPACE, list(names))))


def test_the_least_recently_used_are_evicted(store):
    store = EmbeddingStore(store.location, max_bytes=3 * N_BYTES)
    for name in "abc":
        store.save(NAMESPACE, make(name))
    store.load(NAMESPACE, ["a"])
    store.save(NAMESPACE, make("d"))
    assert held(store, "abcd") == "acd"
    # Uses by other objects and processes count.
    code = "EmbeddingStore(sys.argv[1], max_bytes=1e9).load(sys.argv[2], ['c'])"
    finish(start(code, store.location, NAMESPACE))
    store.save(NAMESPACE, make("e"))
    assert held(store, "abcde") == "cde"
    # Saving an entry again counts as a use; loading without a limit does not.
    EmbeddingStore(store.location).load(NAMESPACE, ["d"])
    store.save(NAMESPACE, make("c"))
    store.save(NAMESPACE, make("f"))
    assert held(store, "abcdef") == "cef"


def test_the_limit_holds_and_the_file_shrinks(store):
    store.save(NAMESPACE, make(*map(str, range(40))))
    store.save("another namespace", make("0", shape=(13, 768)))
    large = path_of(store).stat().st_size
    limited = EmbeddingStore(store.location, max_bytes=5.5 * N_BYTES)
    limited.save(NAMESPACE, make("x"))
    assert (len(store), store.n_bytes) == (5, 5 * N_BYTES)
    assert read(store, "SELECT COUNT(*) FROM arrays") == [(5,)]
    assert path_of(store).stat().st_size < large / 5
    for name in map(str, range(20)):
        limited.save(NAMESPACE, make(name))
        assert store.n_bytes <= limited.max_bytes
    assert path_of(store).stat().st_size < large / 5


def test_an_array_larger_than_the_limit_is_not_saved_and_evicts_nothing(store, quiet):
    store = EmbeddingStore(store.location, max_bytes=2 * N_BYTES)
    store.save(NAMESPACE, make("a", "b"))
    store.save(NAMESPACE, make("c", shape=(27, 768)))
    assert held(store, "abc") == "ab"
    nothing = EmbeddingStore(store.location, max_bytes=0)
    nothing.save(NAMESPACE, make("c"))
    assert held(store, "abc") == "ab"


def test_a_save_larger_than_the_limit_is_saved_in_part(store):
    limited = EmbeddingStore(store.location, max_bytes=2 * N_BYTES)
    limited.save(NAMESPACE, make(*"abcde"))
    assert held(store, "abcde") == "de"


# --- Files ------------------------------------------------------------------------------------


@pytest.fixture
def wav(tmp_path):
    """Return a file that is old enough for its key to be saved."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF1234")
    wait_until_settled(path)
    return path


def wait_until_settled(path):
    time.sleep(files_module._MARGIN_NS / 1e9 + 0.02)
    stat = path.stat()
    if not all(stamp % 10**9 for stamp in (stat.st_mtime_ns, stat.st_ctime_ns)):
        time.sleep(files_module._COARSE_MARGIN_NS / 1e9)


def test_an_unchanged_file_is_recognised(store, wav, monkeypatch, quiet):
    version = FileVersion.from_path(wav, "16000 Hz")
    assert store.known_contents([version]) == {}
    store.remember_contents({version: content_key("speech")})
    assert store.known_contents([version]) == {version: content_key("speech")}
    monkeypatch.chdir(wav.parent)
    again = FileVersion.from_path("a.wav", "16000 Hz")
    assert again == version
    assert os.path.isabs(again.path)
    wav.read_bytes()
    assert FileVersion.from_path(wav, "16000 Hz") == version
    assert store.known_contents([FileVersion.from_path(wav, "8000 Hz")]) == {}


def touch(path):
    os.utime(path)


def restore_mtime(path, change):
    stat = path.stat()
    change(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def rewrite(path):
    restore_mtime(path, lambda path: path.write_bytes(b"RIFF5678"))


def replace(path):
    def move(path):
        other = path.with_suffix(".new")
        other.write_bytes(b"RIFF5678")
        os.replace(other, path)

    restore_mtime(path, move)


def append(path):
    restore_mtime(path, lambda path: path.write_bytes(b"RIFF12345678"))


@pytest.mark.parametrize("alter", [touch, rewrite, replace, append])
def test_a_changed_file_is_not_recognised(store, wav, alter):
    before = FileVersion.from_path(wav, "")
    store.remember_contents({before: "old"})
    alter(wav)
    wait_until_settled(wav)
    after = FileVersion.from_path(wav, "")
    if alter is not touch:
        assert after.mtime_ns == before.mtime_ns
    assert store.known_contents([after]) == {}
    store.remember_contents({after: "new"})
    assert store.known_contents([before, after]) == {after: "new"}


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileVersion.from_path(tmp_path / "none.wav", "")


def test_a_recently_changed_file_is_never_remembered(store, wav):
    wav.write_bytes(b"RIFF5678")
    young = FileVersion.from_path(wav, "")
    # The file may change again within the same tick of the clock. What counts is when its version
    # was determined, not when its key is saved.
    wait_until_settled(wav)
    store.remember_contents({young: "content"})
    assert store.known_contents([young, FileVersion.from_path(wav, "")]) == {}
    settled = FileVersion.from_path(wav, "")
    store.remember_contents({settled: "content"})
    assert store.known_contents([settled]) == {settled: "content"}


@pytest.mark.parametrize(
    ("age_ns", "whole_seconds", "remembered"),
    [(50e6, False, False), (150e6, False, True), (1.5e9, True, False), (2.5e9, True, True)],
)
@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
def test_the_margin_depends_on_the_resolution_of_time_stamps(
    store, monkeypatch, age_ns, whole_seconds, remembered, field
):
    stamp = SETTLED - (1 if whole_seconds else 0)
    monkeypatch.setattr(files_module.time, "time_ns", lambda: stamp + int(age_ns))
    old = SETTLED - 10**10
    file = FileVersion("/a.wav", "", 1, 1, old, old)._replace(**{field: stamp})
    store.remember_contents({file: "content"})
    assert (store.known_contents([file]) != {}) is remembered


def test_every_field_of_a_version_is_compared(store):
    file = FileVersion("/a.wav", "", 1, 2, SETTLED, SETTLED)
    store.remember_contents({file: "content"})
    others = [
        FileVersion("/b.wav", "", 1, 2, SETTLED, SETTLED),
        FileVersion("/a.wav", "channel 1", 1, 2, SETTLED, SETTLED),
        FileVersion("/a.wav", "", 3, 2, SETTLED, SETTLED),
        FileVersion("/a.wav", "", 1, 3, SETTLED, SETTLED),
        FileVersion("/a.wav", "", 1, 2, SETTLED + 1, SETTLED),
        FileVersion("/a.wav", "", 1, 2, SETTLED, SETTLED + 1),
    ]
    assert store.known_contents([file, *others]) == {file: "content"}


def test_inode_numbers_may_exceed_the_integers_of_sqlite(store):
    file = FileVersion("/a.wav", "", 1, 2**64 - 1, SETTLED, SETTLED)
    store.remember_contents({file: "content"})
    assert store.known_contents([file]) == {file: "content"}
    assert store.known_contents([file._replace(inode=2**63 - 1)]) == {}


def test_the_path_of_a_file_need_not_be_unicode(store):
    file = FileVersion(os.fsdecode(b"/\xff.wav"), "", 1, 1, SETTLED, SETTLED)
    store.remember_contents({file: "content"})
    assert store.known_contents([file]) == {file: "content"}


def test_eviction_deletes_the_keys_of_files(store):
    store = EmbeddingStore(store.location, max_bytes=2 * N_BYTES)
    files = {
        name: FileVersion(f"/{name}.wav", "", 1, 1, SETTLED, SETTLED) for name in ("a", "b", "x")
    }
    store.save("another namespace", make("b", shape=(1,)))
    store.remember_contents({file: name for name, file in files.items()})
    store.save(NAMESPACE, make("a"))
    store.save(NAMESPACE, make("b"))
    # The entry of the other namespace is evicted, but its key is still in use.
    assert store.load("another namespace", ["b"]) == {}
    assert len(store.known_contents(files.values())) == 3
    store.save(NAMESPACE, make("c"))
    assert held(store, "abc") == "bc"
    # The array of "x" may be saved later.
    assert store.known_contents(files.values()) == {files["b"]: "b", files["x"]: "x"}


def test_the_number_of_files_is_bounded(store, monkeypatch):
    monkeypatch.setattr(store_module, "_MAX_FILES", 10)
    files = [FileVersion(f"/{i}.wav", "", 1, 1, SETTLED, SETTLED) for i in range(15)]
    store.remember_contents(dict.fromkeys(files[:10], "content"))
    store.remember_contents({files[0]: "content"})
    store.remember_contents(dict.fromkeys(files[10:], "content"))
    assert list(store.known_contents(files)) == [files[0], *files[6:]]


# --- Content keys and the parameter `memory` --------------------------------------------------


@pytest.fixture
def settled(store):
    """A store whose file changed a while ago."""
    store.save(NAMESPACE, make("a", "b"))
    wait()
    return store


def wait():
    """Wait until later changes of a file that was just written are detected."""
    time.sleep(2 * files_module._MARGIN_NS / 1e9)


@pytest.fixture
def opened(monkeypatch):
    """Folders whose file is opened."""
    folders = []
    connect = database._connect
    monkeypatch.setattr(
        database, "_connect", lambda folder, *rest: folders.append(folder) or connect(folder, *rest)
    )
    return folders


def test_an_unchanged_store_is_read_once(settled, wav, opened):
    version = FileVersion.from_path(wav, "16000 Hz")
    settled.remember_contents({version: "a"})
    wait()
    opened.clear()
    for _ in range(3):
        assert settled.known_contents([version]) == {version: "a"}
        assert_same(settled.load(NAMESPACE, ["a", "b"]), make("a", "b"))
    assert len(opened) == 2
    assert settled.load("another network", ["a"]) == {}


def test_what_another_process_saves_is_loaded(settled):
    assert list(settled.load(NAMESPACE, ["a", "c"])) == ["a"]
    script = (
        "import sys, numpy as np; from sklearn_ser.store import EmbeddingStore\n"
        "EmbeddingStore(sys.argv[1]).save(sys.argv[2], {'a': np.ones((20, 768)), 'c': np.ones(3)})"
    )
    subprocess.run([sys.executable, "-c", script, settled.location, NAMESPACE], check=True)
    found = settled.load(NAMESPACE, ["a", "c"])
    np.testing.assert_array_equal(found["a"], np.ones((20, 768)))
    np.testing.assert_array_equal(found["c"], np.ones(3))
    settled.clear()
    assert settled.load(NAMESPACE, ["a", "c"]) == {}


def test_little_is_kept_in_memory(settled, opened, monkeypatch):
    array = make("a")["a"]
    monkeypatch.setattr(loaded_module, "_MAX_BYTES", 1.5 * array.nbytes)
    for _ in range(2):
        assert_same(settled.load(NAMESPACE, ["a", "b"]), make("a", "b"))
    found = settled.load(NAMESPACE, iter(["a"]))
    assert_same(found, {"a": array})
    assert len(opened) == 2
    found["a"].shape = (-1,)
    assert_same(settled.load(NAMESPACE, ["a"]), {"a": array})
    EmbeddingStore(settled.location, max_bytes=1e9).load(NAMESPACE, ["a"])
    assert len(opened) > 2  # to record the use


def test_content_keys_depend_on_values_only():
    waveform = np.arange(12, dtype=np.float32)
    same = [waveform.copy(), np.repeat(waveform, 2)[::2], waveform.astype(">f4")]
    assert {content_key(other) for other in same} == {content_key(waveform)}
    table = waveform.reshape(3, 4)
    assert content_key(np.asfortranarray(table)) == content_key(table)
    assert len(content_key()) == 32
    # The same on every machine.
    assert content_key("wavlm", waveform, b"\0") == "0ee3fdf1a962f63edaa9206cc9ebe39f"


def test_different_contents_have_different_keys():
    waveform = np.zeros(12, dtype=np.float32)
    contents = [
        (),
        (b"",),
        ("",),
        ("", ""),
        (b"ab", b"c"),
        (b"a", b"bc"),
        (b"abc",),
        ("abc",),
        ("ab", "c"),
        (b"bytes 0\n",),
        (b"", b"bytes 0\n"),
        (b"a", b"b"),
        (b"abytesb",),
        (b"abytes 1\nb",),
        (waveform,),
        (waveform.tobytes(),),
        (waveform.astype(np.float64)[:6],),
        (waveform.view(np.int32),),
        (waveform.view(np.uint32),),
        (waveform.reshape(3, 4),),
        (waveform.reshape(4, 3),),
        (waveform.reshape(12, 1),),
        (waveform[:11],),
        (waveform[:5], waveform[:7]),
        (waveform[:7], waveform[:5]),
        (-waveform,),
        (waveform[:0],),
        (waveform[:0].reshape(0, 3),),
        (np.float32([0]).reshape(()),),
        (waveform[:1],),
    ]
    assert len({content_key(*parts) for parts in contents}) == len(contents)


@pytest.mark.parametrize(
    ("part", "named"),
    [(1, "int"), (None, "NoneType"), ([1.0], "list"), (np.array(["a"]), "array of <U1")],
)
def test_parts_of_other_types_raise(part, named):
    with pytest.raises(TypeError, match=f"A part is .*{named}; bytes, str or arrays of numbers"):
        content_key(b"", part)


def test_memory_is_converted_to_a_store(tmp_path):
    assert as_store(None) is None
    assert as_store("cache").location == "cache"
    assert as_store(tmp_path).location == tmp_path
    store = EmbeddingStore(tmp_path, max_bytes=5)
    assert as_store(store) is store
    assert as_store(joblib.Memory(None)) is None
    store = as_store(joblib.Memory(tmp_path / "joblib", verbose=0))
    assert Path(store.location) == tmp_path / "joblib" / "sklearn_ser"
    store.save(NAMESPACE, make("a"))
    assert path_of(store).exists()


def test_memory_of_another_type_raises():
    with pytest.raises(TypeError, match=r"memory is of type int; None, a folder, a joblib\.Memory"):
        as_store(3)


def test_memory_with_another_backend_raises(tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    memory.backend = "s3"
    with pytest.raises(ValueError, match=r"memory is a joblib\.Memory with the backend 's3'"):
        as_store(memory)


def test_tables_created_by_another_process_meanwhile_are_accepted(tmp_path):
    """The version and the tables of the layout are read in one transaction."""
    path = tmp_path / "embeddings.sqlite"

    def make_tables():
        with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                for statement in database._TABLES:
                    other.execute(statement)
                other.execute(f"PRAGMA user_version = {database.VERSION}")
                other.execute("COMMIT")
            except sqlite3.OperationalError:  # locked out, as expected
                return

    class Interrupted:
        """A connection that creates the tables after the version of the layout was read."""

        def __init__(self, connection):
            self.connection = connection

        @property
        def in_transaction(self):
            return self.connection.in_transaction

        def execute(self, statement):
            self.rows = self.connection.execute(statement).fetchall()
            if "user_version" in statement:
                make_tables()
            return self

        def fetchone(self):
            return self.rows[0]

        def __iter__(self):
            return iter(self.rows)

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        connection.execute("CREATE TABLE gone (id INTEGER)")  # so that there is a file to lock
        connection.execute("DROP TABLE gone")
        assert not database._has_tables(Interrupted(connection))
    make_tables()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        assert database._has_tables(connection)
