"""The examples run as downloaded notebooks, and every figure shows something."""

import ast
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def cells_of(example):
    """Return the code cells of the notebook that the gallery offers for download."""
    notebook = pytest.importorskip("sphinx_gallery.notebook")
    parser = pytest.importorskip("sphinx_gallery.py_source_parser")
    _, blocks = parser.split_code_and_text_blocks(example)
    converted = notebook.jupyter_notebook(blocks, _gallery_conf(), str(example.parent))
    return ["".join(c["source"]) for c in converted["cells"] if c["cell_type"] == "code"]


def _gallery_conf():
    """Return the settings of the gallery that converting a notebook reads."""
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF

    return DEFAULT_GALLERY_CONF


def test_examples_are_found():
    assert "plot_quickstart" in [example.stem for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_reads_neither_arguments_nor_its_own_path(example):
    names = set()
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.name for alias in node.names)
    assert not names & {"argparse", "sys", "__file__"}


@pytest.mark.skipif(
    os.environ.get("SKLEARN_SER_EXAMPLES") == "site", reason="the examples run with the site"
)
@pytest.mark.filterwarnings("error::FutureWarning", "ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_as_a_notebook(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", str(tmp_path / "kernel.json")])
    namespace = {"__name__": "__main__"}
    try:
        for cell in cells_of(example):
            exec(compile(cell, example.name, "exec"), namespace)
        figures = [plt.figure(number) for number in plt.get_fignums()]
        assert figures
        for axes in (axes for figure in figures for axes in figure.axes):
            assert axes.has_data(), f"empty axes {axes.get_title()!r}"
    finally:
        plt.close("all")
    assert list(tmp_path.iterdir()) == []
