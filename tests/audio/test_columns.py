"""Columns are found by their names."""

import pytest

from sklearn_ser.audio import choose_column


def choose(names, kind="recording", given=None, **options):
    return choose_column(names, kind, given, parameter="column", table="X", **options)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("recording", "Audio_Path"),
        ("recording", "file name"),
        ("transcript", "Transcription"),
        ("label", "emotion-label"),
        ("speaker", "SpeakerID"),
    ],
)
def test_usual_names_in_any_spelling(kind, name):
    assert choose(["x", name, 3], kind) == name


def test_given_name_takes_precedence():
    assert choose(["path", "x"], given="x") == "x"
    assert choose([0, 1], given=0) == 0
    with pytest.raises(ValueError, match=r"column='y' is no column of X, .* are 'path', 'x'\."):
        choose(["path", "x"], given="y")


def test_no_or_several_matches_raise():
    for optional in (False, True):
        with pytest.raises(ValueError, match=r"'file', 'path' may each be the recording.*`column`"):
            choose(["file", "path"], optional=optional)
    with pytest.raises(ValueError, match=r"'x' of X, none has a usual name for the recording"):
        choose(["x"])
    assert choose(["x"], optional=True) is None
