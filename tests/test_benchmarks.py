"""Benchmarks run on tiny inputs, and what they count is as promised."""

from pathlib import Path

import pytest


def test_a_claim_that_is_not_counted_fails(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from benchmarks import __main__ as benchmarks

    def claim(bench):
        raise ImportError("No module named 'absent'")

    monkeypatch.setitem(benchmarks.CLAIMS, "wavlm", claim)
    assert benchmarks.main(["--smoke", "--only", "wavlm"]) == 1
    assert "wavlm: NOT counted: No module named 'absent'" in capsys.readouterr().out


@pytest.mark.slow
def test_counts_are_as_promised(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from benchmarks.__main__ import main

    assert main(["--smoke"]) == 0, capsys.readouterr().out
    assert "search: store: decoded files: 0" in capsys.readouterr().out
