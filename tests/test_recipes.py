"""The code of the recipes in docs/development runs, as the files that it is to become."""

import ast
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from test_architecture import PACKAGES, imports_of, may_import

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "docs/development").glob("add_a*.md"))
# A block of code begins with the path of its file, in a comment.
FILE = re.compile(r"^```\w+\n(?:#|\.\.) ([\w/]+\.\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```(?:python|rst)$", re.MULTILINE)


def files_of(page):
    return FILE.findall(page.read_text())


def install(path, code, monkeypatch):
    """Run code as the module of a new file, or as an addition to the module of a file; return it.

    Tables that an addition fills are put back at the end of the test.
    """
    name = path.removesuffix(".py").replace("/", ".")
    if (ROOT / path).exists():
        module = import_module(name)
        for attribute, value in list(vars(module).items()):
            if type(value) is dict:
                monkeypatch.setattr(module, attribute, dict(value))
        namespace = dict(vars(module))
    else:
        module = ModuleType(name)
        module.__package__ = name.rpartition(".")[0]
        monkeypatch.setitem(sys.modules, name, module)
        namespace = vars(module)
    exec(compile(code, path, "exec"), namespace)
    return namespace


def test_recipes_are_found():
    assert len(RECIPES) == 3


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_each_block_of_a_recipe_is_a_file(page):
    assert len(files_of(page)) == len(CODE.findall(page.read_text()))


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_the_code_of_a_recipe_passes_its_own_tests(page, request, monkeypatch):
    files = files_of(page)
    descriptions = {Path(path).stem: text for path, text in files if path.endswith(".rst")}
    monkeypatch.setattr("sklearn_ser.datasets._bunch.read_descr", descriptions.__getitem__)
    n_tests = 0
    for path, code in files:
        if path.endswith(".py"):
            for name, value in list(install(path, code, monkeypatch).items()):
                if name.startswith("test_"):
                    fixtures = inspect.signature(value).parameters
                    value(**{fixture: request.getfixturevalue(fixture) for fixture in fixtures})
                    n_tests += 1
    assert n_tests


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_the_code_of_a_recipe_imports_what_its_room_may(page):
    for path, code in files_of(page):
        package, _, module = path.partition("/")
        if package == "sklearn_ser" and path.endswith(".py"):
            subpackage = module.partition("/")[0]
            for name in imports_of(ast.walk(ast.parse(code))):
                assert subpackage in PACKAGES
                assert may_import(subpackage, name), f"{path}: {name}"
