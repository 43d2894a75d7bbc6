"""Benchmarks run on tiny inputs, and what they count is as promised."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_counts_are_as_promised(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from benchmarks.__main__ import main

    assert main(["--smoke"]) == 0, capsys.readouterr().out
    assert "search: store: decoded files: 0" in capsys.readouterr().out
