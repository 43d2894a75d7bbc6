"""The examples run, from the command line, and say what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def run(example, *arguments, folder):
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", str(example), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What trains networks is run in brief; the quickstart below.
IN_BRIEF = {"plot_distilled": "1"}


not_with_site = pytest.mark.skipif(
    os.environ.get("SKLEARN_SER_EXAMPLES") == "site", reason="the examples run with the site"
)


@not_with_site
@pytest.mark.parametrize(
    ("example", "arguments"),
    [
        (path, ("--epochs", IN_BRIEF[path.stem]) if path.stem in IN_BRIEF else ())
        for path in EXAMPLES
        if path.stem != "plot_quickstart"
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
def test_example_runs_by_itself(example, arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for variable in ("SKLEARN_SER_DATA", "SKLEARN_SER_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    run(example, *arguments, folder=tmp_path)


def take(folder, corpus, is_wanted):
    """Return a folder with some files of a corpus."""
    few = folder / corpus.name
    for path in corpus.rglob("*.*"):
        if is_wanted(path.name):
            link = few / path.relative_to(corpus)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return str(few)


def has_sentence(name):
    """Tell two sentences of Emo-DB's ten."""
    return name[2:5] in ("a01", "b02")


def recall_of(output):
    return float(re.search(r"recall, speakers held out: (0\.\d+) \[", output).group(1))


@not_with_site
def test_quickstart_on_synthetic_voices(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    arguments = ("--epochs", "2", "--output", "m.png", "--n-jobs", "1")  # of twenty
    output = run(ROOT / "examples/plot_quickstart.py", *arguments, folder=tmp_path)
    assert 0.2 <= recall_of(output) <= 0.95  # chance is .143
    assert (tmp_path / "m.png").stat().st_size > 10_000


def test_quickstart_without_matplotlib_says_how_to_get_the_picture(tmp_path):
    hidden = "import sys, runpy; sys.modules['matplotlib'] = None; sys.argv = sys.argv[1:]\n"
    done = subprocess.run(
        [
            *(sys.executable, "-c", f"{hidden}runpy.run_path(sys.argv[0], run_name='__main__')"),
            *(str(ROOT / "examples/plot_quickstart.py"), "--classifier", "linear"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert recall_of(done.stdout) >= 0.5
    assert "pip install matplotlib" in done.stdout


@pytest.mark.parametrize(
    ("corpus", "found", "floor"),
    [
        ("emodb", "535 recordings by 10 speakers", 0.59),  # MFCC statistics with an SVM
        ("ravdess", "180 recordings by 3 speakers", 0.25),  # chance is .125
    ],
)
def test_linear_quickstart_on_real_recordings(
    tmp_path, monkeypatch, corpus_folder, corpus, found, floor
):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    actors = tuple(f"-0{number}." for number in range(1, 4))
    few = take(
        tmp_path,
        corpus_folder(corpus),
        lambda name: corpus == "emodb" or any(actor in name for actor in actors),
    )
    output = run(
        ROOT / "examples/plot_quickstart.py",
        *("--corpus", corpus, "--data", few, "--classifier", "linear", "--n-jobs", "1"),
        folder=tmp_path,
    )
    assert found in output
    assert recall_of(output) >= floor


def test_quickstart_trains_a_network_on_real_recordings(tmp_path, monkeypatch, corpus_folder):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    few = take(
        tmp_path,
        corpus_folder("emodb"),
        lambda name: name.startswith(("03a0", "08a0", "09a0")),
    )
    output = run(
        ROOT / "examples/plot_quickstart.py",
        *("--corpus", "emodb", "--data", few, "--epochs", "1", "--n-jobs", "1"),
        folder=tmp_path,
    )
    assert "by 3 speakers" in output
    assert 0 < recall_of(output) < 1


def test_quickstart_asks_for_the_folder(tmp_path):
    with pytest.raises(AssertionError, match="--corpus emodb needs --data"):
        run(ROOT / "examples/plot_quickstart.py", "--corpus", "emodb", folder=tmp_path)


def test_layer_analysis_on_real_recordings(tmp_path, monkeypatch, corpus_folder, weights_folder):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    output = run(
        ROOT / "examples/plot_layer_analysis.py",
        *("--data", take(tmp_path, corpus_folder("emodb"), has_sentence)),
        *("--model", str(weights_folder("whisper-base-encoder"))),
        folder=tmp_path,
    )
    assert " recordings, 7 layers of 512 dimensions" in output
    curves = {
        line.rsplit(maxsplit=7)[0].strip(): np.array(line.split()[-7:], dtype=float)
        for line in output.splitlines()
        if line.startswith(("probe of", "weights of"))
    }
    # As the text of the example says of all sentences: arousal is shallow, valence isn't.
    assert curves["probe of arousal"].min() >= 0.7
    assert np.ptp(curves["probe of arousal"]) <= 0.15
    valence = curves["probe of valence"]
    assert valence.max() - valence[0] >= 0.1
    for question in ("arousal", "valence", "valence at high arousal", "dominance"):
        assert abs(curves[f"weights of {question}"].sum() - 1) <= 0.01
        found = re.search(
            rf"selection for {question}: one layer (\S+) .*, weighted sum (\S+)", output
        )
        one_layer, weighted = map(float, found.groups())
        assert min(one_layer, weighted) > 0.1
    assert (tmp_path / "layers.png").stat().st_size > 10_000


def test_hyfuse_on_real_recordings(tmp_path, monkeypatch, corpus_folder, weights_folder):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    output = run(
        ROOT / "examples/plot_hyfuse.py",
        *("--data", take(tmp_path, corpus_folder("emodb"), has_sentence)),
        *("--ge2e", str(weights_folder("ge2e"))),
        *("--lyra", str(weights_folder("lyra-soundstream"))),
        folder=tmp_path,
    )
    assert "384 columns of ge2e, lyra" in output
    recall = float(re.search(r"ge2e \+ lyra +mobius +speakers held out (0\.\d+)", output).group(1))
    assert recall >= 0.4  # chance is .143
    assert output.count(" - logistic on ") == 3
    assert output.count("half without ") == 2
    assert (tmp_path / "hyfuse.png").stat().st_size > 10_000
