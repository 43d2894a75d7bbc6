"""The code in the README and in the guide runs as it stands."""

import inspect
import re
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate

import sklearn_ser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES_WITH_CODE = [page for page in PAGES if PYTHON.search(page.read_text())]
HONEST_EVALUATION = ROOT / "docs/guide/honest_evaluation.md"
MANY_MACHINES = ROOT / "docs/guide/many_machines.md"
RUN_ELSEWHERE = {HONEST_EVALUATION, MANY_MACHINES}  # in the next test; in test_many_machines.py


def run(page):
    """Run the blocks of a page one after the other and return their names and values."""
    namespace = {}
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), namespace)
    return namespace


def test_the_reference_lists_every_public_name():
    page = (ROOT / "docs/api.md").read_text()
    listed = set(re.findall(r"^   (?:audio\.)?(\w+)$", page, re.MULTILINE))
    modules = [name for name in sklearn_ser.__all__ if inspect.ismodule(getattr(sklearn_ser, name))]
    names = {name for module in modules for name in getattr(sklearn_ser, module).__all__}
    names |= set(sklearn_ser.__all__) - {*modules, "__version__"}
    assert listed - {"SegmentOfFile", "cut_into_segments"} == names


def test_pages_with_code_are_found():
    assert len(PAGES_WITH_CODE) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES_WITH_CODE if page not in RUN_ELSEWHERE],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page)


@pytest.mark.slow
def test_the_nested_search_keeps_speakers_apart_inside_and_outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
