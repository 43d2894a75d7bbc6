"""The examples run, from the command line, and say what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def run(example, *arguments, folder):
    return subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", str(example), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=None,
    ).stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_by_itself(example, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run(example, folder=tmp_path)


def recall_of(output):
    return float(re.search(r"recall, speakers held out: (0\.\d+) \[", output).group(1))


def test_quickstart_on_synthetic_voices(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    output = run(ROOT / "examples/plot_quickstart.py", "--output", "m.png", folder=tmp_path)
    assert 0.6 <= recall_of(output) <= 0.95
    assert (tmp_path / "m.png").stat().st_size > 10_000


def test_quickstart_on_emodb_beats_mfcc_statistics(tmp_path, monkeypatch, corpus_folder):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    output = run(
        ROOT / "examples/plot_quickstart.py",
        *("--corpus", "emodb", "--data", str(corpus_folder("emodb"))),
        folder=tmp_path,
    )
    assert "535 recordings by 10 speakers" in output
    assert recall_of(output) >= 0.59


def test_quickstart_asks_for_the_folder(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(ROOT / "examples/plot_quickstart.py", "--corpus", "emodb", folder=tmp_path)
    assert "--corpus emodb needs --data" in caught.value.stderr
