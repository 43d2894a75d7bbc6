"""pre-commit, nox and .ci/run run the same commands."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CI = (ROOT / ".ci/run").read_text()
LINT = re.findall(r"^(?:ruff|codespell|mypy)\b.*$", CI, re.MULTILINE)
CHECKS = re.findall(r"^python -(?:c|m (?:sphinx|pytest)) .*$", CI, re.MULTILINE)
TESTS = re.findall(r"^python -m pytest .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_commands_are_found():
    assert len(LINT) == 4
    assert len(CHECKS) == 3
    assert len(TESTS) == 1


def test_nox_runs_the_commands_of_ci():
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "noxfile.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "run"
    ]
    commands = [argument.value for call in calls for argument in call.args[1:]]
    assert sorted(commands) == sorted([*LINT, *CHECKS, *TESTS])


def test_pre_commit_runs_the_lint_of_ci_by_the_installed_tools():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: (.*)", hooks) == LINT
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}
