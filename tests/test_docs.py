"""The code on the pages runs as printed, page by page, and prints what the page shows."""

import contextlib
import inspect
import io
import re
from importlib import import_module
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate

import sklearn_ser
from sklearn_ser.datasets import make_emotional_speech
from small_speaker_networks import need_speechbrain, save_ge2e
from stand_ins import snapshot_download

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/guide").glob("*.md")),
    ROOT / "docs/development/architecture.md",
]
# A block of code, and the block of what it prints, which follows it directly.
BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n?^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
PAGES_WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text())]
HONEST_EVALUATION = ROOT / "docs/guide/honest_evaluation.md"
MANY_MACHINES = ROOT / "docs/guide/many_machines.md"
RUN_ELSEWHERE = {HONEST_EVALUATION, MANY_MACHINES}  # in the next test; in test_many_machines.py


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Provide what the reader of a page has: published networks, and some files."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    save_ge2e(tmp_path / "path/to/pretrained.pt")
    corpus = make_emotional_speech(
        n_speakers=2, emotions=["anger", "sadness"], n_sentences=2, random_state=0
    )
    for number, recording in enumerate(corpus.recordings):
        name = f"{corpus.groups[number]}_{number}.wav"
        file = tmp_path / "my_recordings" / corpus.target[number] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, recording, 16000)
    soundfile.write(tmp_path / "call.wav", np.concatenate(corpus.recordings[:4]), 16000)
    with joblib.parallel_config("threading"):  # other processes would search the hub
        yield
    plt.close("all")


def numbers_and_words(text):
    """Split a text into what stands between its decimal numbers, and the numbers."""
    parts = re.split(r"(-?\d+\.\d+)", " ".join(text.split()))
    return parts[::2], np.array(parts[1::2], dtype=float)


def assert_prints(printed, shown, code):
    """Check that code printed what the page shows; decimals may differ between machines."""
    words, numbers = numbers_and_words(printed)
    shown_words, shown_numbers = numbers_and_words(shown)
    assert words == shown_words, code
    np.testing.assert_allclose(numbers, shown_numbers, rtol=0, atol=0.05, err_msg=code)


def run(page):
    """Run the blocks of a page one after the other and return their names and values."""
    namespace = {}
    for code, shown in BLOCK.findall(page.read_text()):
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(compile(code, str(page), "exec"), namespace)
        assert_prints(stdout.getvalue(), shown, code)
    return namespace


def test_the_reference_lists_every_public_name():
    page = (ROOT / "docs/api.md").read_text()
    listed = set(re.findall(r"^   (?:audio\.)?(\w+)$", page, re.MULTILINE))
    modules = [name for name in sklearn_ser.__all__ if inspect.ismodule(getattr(sklearn_ser, name))]
    names = {name for module in modules for name in getattr(sklearn_ser, module).__all__}
    names |= set(sklearn_ser.__all__) - {*modules, "__version__"}
    assert listed - {"SegmentOfFile", "cut_into_segments"} == names


def test_the_files_that_the_readme_links_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert "docs/benchmarks.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_pages_with_code_are_found():
    assert len(PAGES_WITH_CODE) >= 17


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_is_left_out(page):
    text = page.read_text()
    assert len(BLOCK.findall(text)) == len(re.findall(r"^ *```py", text, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES_WITH_CODE if page not in RUN_ELSEWHERE],
    ids=lambda page: page.name,
)
@pytest.mark.usefixtures("reader")
def test_the_code_of_a_page_runs(page):
    if page.name == "speaker_embeddings.md":
        need_speechbrain()
    if page.name == "onnx.md":
        import_module("plain_librosa")  # for the page to import
    run(page)


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
def test_the_nested_search_keeps_speakers_apart_inside_and_outside(monkeypatch):
    seen = []

    original = GroupKFold.split

    def split(self, X, y=None, groups=None):
        for train, test in original(self, X, y, groups):
            seen.append(set(groups[train]) & set(groups[test]))
            yield train, test

    monkeypatch.setattr(GroupKFold, "split", split)
    found = run(HONEST_EVALUATION)
    # Three outer folds, and two inner folds within each.
    assert seen == [set()] * 9
    speakers = found["corpus"].groups
    for train, test in zip(*found["result"]["indices"].values(), strict=True):
        assert not set(speakers[train]) & set(speakers[test])
    assert len(found["result"]["estimator"]) == 3
    assert set(found["nested"]) <= set(found["corpus"].target)


@pytest.mark.parametrize(
    ("groups", "without"),
    [
        ({"params": {"groups": [0, 0, 1, 1, 2, 2] * 2}}, "split"),
        ({"groups": [0, 0, 1, 1, 2, 2] * 2}, "fit"),
    ],
    ids=["params reach the search alone", "groups reach the outer folds alone"],
)
def test_what_the_guide_says_happens_without_metadata_routing(groups, without):
    fitted = []

    class Search(GridSearchCV):
        def fit(self, X, y, **params):
            fitted.append(params)
            return super().fit(X, y, **params)

    search = Search(LogisticRegression(), {"C": [1, 2]}, cv=GroupKFold(2))
    X, y = [[0.0], [1.0]] * 6, [0, 1] * 6
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        cross_validate(search, X, y, cv=GroupKFold(3), error_score="raise", **groups)
    # The outer folds fail before any fit; the inner ones within the first.
    assert len(fitted) == (0 if without == "split" else 1)
