"""Imports go down only, and heavy libraries stay where they belong."""

import ast
import re
import sys
from pathlib import Path

import pytest

import sklearn_ser

ROOT = Path(sklearn_ser.__file__).parent
PAGE = Path(__file__).parents[1] / "docs/development/architecture.md"

# Subpackage -> the subpackages and libraries that its modules may import.
# Top-level modules count as subpackages.
LIGHT = {"numpy", "scipy", "joblib"}
PACKAGES = {
    "audio": ({"_extras", "_targets", "_warnings"}, LIGHT | {"soundfile", "soxr", "pandas"}),
    "nn": ({"_forks"}, LIGHT | {"torch", "geoopt"}),
    "backbones": (
        {"_extras", "_forks", "_warnings", "audio", "nn"},
        LIGHT
        | {
            "torch",
            "transformers",
            "huggingface_hub",
            "safetensors",
            "speechbrain",
            "encodec",
            "yaml",
        },
    ),
    "store": ({"_warnings"}, LIGHT),
    "embedders": (
        {
            "_pickles",
            "_sklearn",
            "_targets",
            "_warnings",
            "audio",
            "nn",
            "backbones",
            "store",
            "layers",
        },
        LIGHT | {"sklearn", "torch", "tqdm", "cloudpickle"},
    ),
    "training": (
        {"_forks", "_pickles", "_shares", "_sklearn", "_targets", "_warnings", "backbones", "nn"},
        LIGHT | {"sklearn", "torch", "skorch", "safetensors", "tqdm"},
    ),
    "distillation": (
        {
            "_sklearn",
            "_warnings",
            "audio",
            "nn",
            "backbones",
            "layers",
            "embedders",
            "training",
        },
        LIGHT | {"sklearn", "torch", "transformers", "tokenizers"},
    ),
    "estimators": (
        {
            "_pickles",
            "_sklearn",
            "_targets",
            "_warnings",
            "audio",
            "nn",
            "backbones",
            "embedders",
            "training",
            "distillation",
            "export",
        },
        LIGHT | {"sklearn", "torch", "geoopt"},
    ),
    "export": ({"_extras", "layers"}, LIGHT | {"sklearn", "torch", "onnx"}),
    "speakers": ({"_pickles", "_sklearn", "_warnings", "audio"}, LIGHT | {"sklearn", "pandas"}),
    "metrics": ({"_shares", "_sklearn", "_targets"}, LIGHT | {"sklearn", "pandas"}),
    "layers": ({"_pickles", "_sklearn", "_targets", "_warnings", "metrics"}, LIGHT | {"sklearn"}),
    "inspection": (
        {"_extras", "_sklearn", "_targets", "audio", "nn", "layers", "estimators", "metrics"},
        LIGHT | {"sklearn", "matplotlib", "torch"},
    ),
    "datasets": ({"_sklearn", "_warnings", "audio"}, LIGHT | {"sklearn", "pandas"}),
    "_extras": (set(), set()),
    "_forks": (set(), set()),
    "_pickles": (set(), {"sklearn"}),
    "_shares": (set(), LIGHT | {"sklearn"}),
    "_targets": (set(), LIGHT),
    "_sklearn": (set(), {"sklearn"}),
    "_warnings": (set(), set()),
    "estimator_checks": (
        {"_sklearn", "audio"},
        LIGHT | {"sklearn", "soundfile", "soxr", "pandas", "polars", "pytest"},
    ),
    "__init__": (
        {
            "audio",
            "backbones",
            "datasets",
            "distillation",
            "embedders",
            "estimator_checks",
            "estimators",
            "export",
            "inspection",
            "layers",
            "metrics",
            "speakers",
            "store",
        },
        set(),
    ),
    "__main__": (
        {"audio", "backbones", "datasets", "estimators"},
        LIGHT | {"sklearn", "tqdm"},
    ),
}
# Libraries that cost seconds to import may not be imported when a module is, except these.
HEAVY = {"torch", "torchaudio", "transformers", "speechbrain", "encodec", "geoopt", "skorch"}
HEAVY |= {"matplotlib", "pandas", "polars", "pytest", "onnx"}
MAY_BE_HEAVY_AT_IMPORT = {
    "nn": {"torch"},
    "backbones": {"torch"},
    # What finds a network does not run it.
    "backbones/__init__.py": set(),
    "backbones/_checkpoint.py": set(),
    "backbones/_search.py": set(),
    "training": {"torch"},
    "training/_loop.py": {"torch", "skorch"},  # the module that `fit` alone imports
    "distillation": {"torch"},
    "export": {"torch"},
    "estimators": {"torch"},
}

TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted(ROOT.rglob("*.py"))
}


def _package(module):
    return module.partition("/")[0].removesuffix(".py")


def imports_of(nodes):
    """Yield the dotted name of each import among the nodes, without relative ones."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module == "sklearn_ser":
                yield from (f"sklearn_ser.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _top_level_nodes(tree):
    """Yield what runs when the module is imported: all but bodies of functions."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def may_import(package, name):
    packages, libraries = PACKAGES[package]
    top, _, rest = name.partition(".")
    if top == "sklearn_ser":
        return rest.split(".")[0] in packages | {package}
    return top in sys.stdlib_module_names or top in libraries


def _assert_none(offences):
    offences = list(offences)
    assert not offences, "\n".join(["", *offences])


def test_every_module_is_in_a_listed_package():
    unlisted = sorted({_package(module) for module in TREES} - set(PACKAGES))
    assert not unlisted, f"{unlisted} are not listed; add them here and to the docs"
    empty = sorted(set(PACKAGES) - {_package(module) for module in TREES})
    assert not empty, f"{empty} contain no module"


def test_packages_import_only_what_is_allowed():
    _assert_none(
        f"{module} must not import {name}"
        for module, tree in TREES.items()
        for name in imports_of(ast.walk(tree))
        if not may_import(_package(module), name)
    )


def test_relative_imports_stay_in_their_folder():
    _assert_none(
        f"{module}, line {node.lineno}: a relative import leaves its folder"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level > 1
    )


def test_heavy_libraries_are_imported_where_used():
    _assert_none(
        f"{module} must not import {top} when it is itself imported"
        for module, tree in TREES.items()
        for top in sorted(_heavy_at_import(tree) - _allowed_at_import(module))
    )


def _heavy_at_import(tree):
    return {name.partition(".")[0] for name in imports_of(_top_level_nodes(tree))} & HEAVY


def _allowed_at_import(module):
    of_package = MAY_BE_HEAVY_AT_IMPORT.get(_package(module), set())
    return MAY_BE_HEAVY_AT_IMPORT.get(module, of_package)


def test_private_scikit_learn_names_come_from_one_module():
    _assert_none(
        f"{module}: import {name} through sklearn_ser._sklearn"
        for module, tree in TREES.items()
        if module != "_sklearn.py"
        for name in _scikit_learn_names(tree)
        if "._" in name
    )


def _scikit_learn_names(tree):
    """Yield the dotted name of all that is imported from scikit-learn."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sklearn":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sklearn."))


def test_packages_have_no_import_cycles():
    below = {package: packages & set(PACKAGES) for package, (packages, _) in PACKAGES.items()}
    while free := [package for package, packages in below.items() if not packages]:
        for package in free:
            del below[package]
        below = {package: packages - set(free) for package, packages in below.items()}
    assert not below, f"these packages import each other: {sorted(below)}"


@pytest.fixture(scope="module")
def page_packages():
    """Return the table of the page in the form of PACKAGES, in its order."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return {
        package: (_names(packages), _libraries(libraries)) for package, packages, libraries in rows
    }


def _names(cell):
    return set() if cell == "none" else set(re.findall(r"\w+", cell))


def _libraries(cell):
    names = _names(cell)
    return names - {"light"} | (LIGHT if "light" in names else set())


def test_the_page_lists_the_packages_and_their_allowed_imports(page_packages):
    assert page_packages == PACKAGES


def test_the_page_lists_packages_below_their_imports(page_packages):
    order = list(page_packages)
    for package, (packages, _) in page_packages.items():
        assert all(order.index(other) < order.index(package) for other in packages), package


def test_names_on_the_page_are_in_their_files():
    text = " ".join(PAGE.read_text().split())
    claims = re.findall(r"`([\w.]+)`(?: there)? in `(\w+/\w+\.py)`", text)
    assert claims
    for name, module in claims:
        assert set(name.split(".")) <= _defined(TREES[module]), f"{name} in {module}"


def _defined(tree):
    """Return the names of all classes, methods and functions of a module."""
    definitions = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, definitions)}
