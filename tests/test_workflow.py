"""pre-commit, nox and .ci/run run the same commands, and the bug report's command works."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
CI = (ROOT / ".ci/run").read_text()
LINT = re.findall(r"^(?:ruff|codespell|mypy)\b.*$", CI, re.MULTILINE)
CHECKS = re.findall(r"^(python -(?:c|m (?:sphinx|pytest)) .*?)(?: &)?$", CI, re.MULTILINE)
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


def test_the_hosted_workflow_runs_ci():
    workflow = (ROOT / ".github/workflows/checks.yml").read_text()
    commands = re.findall(r"- run: (.*)", workflow)
    assert commands == [".ci/run"]
    assert os.access(ROOT / commands[0], os.X_OK)


def test_the_command_of_a_bug_report_prints_versions():
    page = (ROOT / ".github/ISSUE_TEMPLATE/bug_report.md").read_text()
    (code,) = re.findall(r'^python -c "(.*)"$', page, re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in ("sklearn-ser", "scikit-learn", "torch"):
        assert f"{name}=={version(name)}" in printed
