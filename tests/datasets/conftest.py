"""Fixtures: small folders in the layouts of the corpora, and the real corpora if available."""

import csv
import warnings
from itertools import product

import pytest

# Number of recordings of each speaker in the corpus.
EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
EMODB_COUNTS = (49, 58, 43, 38, 55, 35, 61, 69, 56, 71)


def _fill(root, names):
    """Fill a folder with files that contain their names."""
    for parent in {root, *((root / name).parent for name in names)}:
        parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        with open(f"{root}/{name}", "w", encoding="utf-8") as file:
            file.write(name.rpartition("/")[2])
    return root


@pytest.fixture
def grow(tmp_path):
    """Return a function that fills a new folder with different files."""

    def grow_tree(*names, folder="corpus"):
        return _fill(tmp_path / folder, names)

    return grow_tree


@pytest.fixture(scope="session")
def grow_to_read(tmp_path_factory):
    """Return a function that fills a folder shared by several tests, which must not change it."""

    def grow_tree(*names):
        return _fill(tmp_path_factory.mktemp("corpus"), names)

    return grow_tree


@pytest.fixture
def one_warning():
    """Return a function that calls a loader and returns its result and its only warning."""

    def call(loader, *args, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = loader(*args, **options)
        assert len(caught) == 1, [str(warning.message) for warning in caught]
        assert caught[0].category is UserWarning
        # A warning points at the line that called the loader.
        assert caught[0].filename == __file__
        return result, str(caught[0].message)

    return call


@pytest.fixture(scope="session")
def emodb_names():
    """Return 535 names with the number of recordings per speaker of the corpus, but other names."""
    sentences = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    spoken = [f"{s}{e}{v}" for v, s, e in product("ab", sentences, "WLEAFTN")]
    return [
        f"{who}{what}"
        for who, n in zip(EMODB_SPEAKERS, EMODB_COUNTS, strict=True)
        for what in spoken[:n]
    ]


@pytest.fixture(scope="session")
def ravdess_names():
    """Return the names of all 1440 spoken and 1012 sung recordings."""
    names = []
    for channel, n_emotions in (("01", 8), ("02", 6)):
        parts = product(range(1, n_emotions + 1), (1, 2), (1, 2), (1, 2), range(1, 25))
        for emotion, intensity, statement, repetition, actor in parts:
            if (emotion == 1 and intensity == 2) or (channel == "02" and actor == 18):
                continue
            codes = f"{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
            names.append(f"03-{channel}-{codes}")
    return names


@pytest.fixture
def metadata(corpus_folder):
    """Return a function that returns the folder of a corpus and the rows of its metadata."""

    def read(corpus):
        folder = corpus_folder(corpus)
        with open(folder / "metadata.csv", newline="", encoding="utf-8") as file:
            return folder, list(csv.DictReader(file))

    return read
