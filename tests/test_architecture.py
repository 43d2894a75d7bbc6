"""The house: imports go down only, and heavy libraries stay where they belong."""

import ast
import sys
from pathlib import Path

import pytest

import sklearn_ser

ROOT = Path(sklearn_ser.__file__).parent

# Layer -> the layers and the libraries that it may import anywhere in its modules.
# "" stands for the modules at the top of the package.
LIGHT = {"numpy", "scipy", "joblib"}
LAYERS = {
    "audio": ({"_warnings"}, LIGHT | {"soundfile", "soxr"}),
    "nn": (set(), LIGHT | {"torch", "geoopt"}),
    "backbones": (
        {"audio", "nn"},
        LIGHT
        | {
            "torch",
            "transformers",
            "tokenizers",
            "huggingface_hub",
            "speechbrain",
            "encodec",
            "yaml",
        },
    ),
    "store": ({"_warnings"}, LIGHT),
    "embedders": (
        {"_sklearn", "_warnings", "audio", "nn", "backbones", "store"},
        LIGHT | {"sklearn", "torch", "tqdm", "cloudpickle"},
    ),
    "estimators": (
        {"_sklearn", "_warnings", "audio", "nn", "backbones", "store", "embedders", "metrics"},
        LIGHT | {"sklearn", "torch", "skorch", "geoopt", "transformers"},
    ),
    "metrics": ({"_sklearn"}, LIGHT | {"sklearn"}),
    "inspection": (
        {"_sklearn", "audio", "nn", "embedders", "estimators", "metrics"},
        LIGHT | {"sklearn", "matplotlib", "torch"},
    ),
    "datasets": ({"_sklearn", "_warnings", "audio"}, LIGHT | {"sklearn", "pandas"}),
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
            "embedders",
            "estimator_checks",
            "estimators",
            "inspection",
            "metrics",
            "store",
        },
        set(),
    ),
}
# Libraries that cost seconds to import may not be imported when such a layer is.
HEAVY = {"torch", "torchaudio", "transformers", "speechbrain", "encodec", "geoopt", "skorch"}
HEAVY |= {"matplotlib", "pandas", "polars", "pytest"}
MAY_BE_HEAVY_AT_IMPORT = {
    "nn": {"torch"},
    "backbones": {"torch"},
    "estimators": {"torch", "skorch"},  # skorch in the module alone that `fit` imports
}

MODULES = sorted(ROOT.rglob("*.py"))


def _layer(path):
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def _imports(nodes):
    """Yield the dotted name of each import among the nodes, without relative ones."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module == "sklearn_ser":
                yield from (f"sklearn_ser.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, "a relative import leaves its folder"


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_the_house(path):
    layer = _layer(path)
    assert layer in LAYERS, f"{layer} has no place in the house; give it one here and in the docs"
    layers, libraries = LAYERS[layer]
    tree = ast.parse(path.read_text())
    for name in _imports(ast.walk(tree)):
        top, _, rest = name.partition(".")
        if top == "sklearn_ser":
            assert rest.split(".")[0] in layers | {layer}, f"{layer} must not import {name}"
        elif top not in sys.stdlib_module_names:
            assert top in libraries, f"{layer} must not import {top}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_used(path):
    allowed = MAY_BE_HEAVY_AT_IMPORT.get(_layer(path), set())
    tops = {
        name.partition(".")[0] for name in _imports(_top_level_nodes(ast.parse(path.read_text())))
    }
    assert tops & HEAVY <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_scikit_learn_names_come_from_one_module(path):
    if _layer(path) == "_sklearn":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sklearn":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("sklearn.")]
        private = [name for name in names if "._" in name]
        assert not private, f"import {private} through sklearn_ser._sklearn"


def test_layers_form_no_cycle():
    below = {layer: layers & set(LAYERS) for layer, (layers, _) in LAYERS.items()}
    while free := [layer for layer, layers in below.items() if not layers]:
        for layer in free:
            del below[layer]
        below = {layer: layers - set(free) for layer, layers in below.items()}
    assert not below, f"these layers import each other: {sorted(below)}"
