"""Progress: what the lines say, and when there is a bar."""

import io

import pytest

from sklearn_ser.training import Progress


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose last entry is the time."""
    times = [0.0]
    monkeypatch.setattr("sklearn_ser.training._progress.time.monotonic", lambda: times[-1])
    return times


def test_lines_have_the_time_of_the_epoch_and_the_time_left(clock, capsys):
    history = {"epoch": [], "train_loss": []}
    with Progress(100, 4, verbose=1) as progress:
        for seconds, n_used in ((100, 100), (40, 98)):
            for n in (32, n_used - 32):
                progress.update(n)
            clock.append(clock[-1] + seconds)
            history["epoch"].append(len(history["epoch"]) + 1)
            history["train_loss"].append(0.123456)
            progress.end_epoch(history)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1: train_loss 0.1235 (100 recordings in 0:01:40, 0:05:00 left)",
        "epoch 2: train_loss 0.1235 (98 recordings in 0:00:40, 0:02:20 left)",
    ]


def test_nothing_is_shown_unless_verbose(capsys, monkeypatch):
    monkeypatch.setattr("tqdm.auto.tqdm", pytest.fail)
    with Progress(100, 4, verbose=0) as progress:
        progress.update(100)
        progress.end_epoch({"epoch": [1], "train_loss": [0.1]})
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_terminal_shows_recordings_of_all_epochs(monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", shown := stream())
    with Progress(100, 4, verbose=1) as progress:
        progress.update(50)
    assert ("50/400 [" in shown.getvalue()) == (stream is Terminal)


def test_auto_shows_a_bar_without_lines_after_half_a_minute(clock, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", shown := Terminal())
    with Progress(100, 4, verbose="auto") as progress:
        clock.append(29.0)
        progress.update(50)
        assert not shown.getvalue()
        clock.append(31.0)
        progress.update(20)
        progress.end_epoch({"epoch": [1], "train_loss": [0.1]})
        assert "70/400 [" in shown.getvalue()
    assert capsys.readouterr().out == ""
