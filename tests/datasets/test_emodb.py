"""Emo-DB, and the warnings and errors common to all corpora."""

import os
import warnings
from collections import Counter
from pathlib import Path

import pytest
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_ser.datasets import load_emodb
from sklearn_ser.datasets._scan import CorpusLayout, scan_corpus


@pytest.fixture
def full(grow, emodb_names):
    return grow(*(f"wav/{name}.wav" for name in emodb_names))


def test_complete_corpus_is_silent(full):
    (full / "metadata.csv").write_text("file")
    (full / ".hidden.wav").touch()
    (full / ".cache").mkdir()
    (full / ".cache" / "03a01Fa.wav").touch()
    (full / "wav" / "._03a01Fa.wav").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_emodb(full)
    assert len(data.recordings) == 535
    assert all(Path(recording).is_file() for recording in data.recordings)


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("16b10Wb.wav", "03a01Fa.wav", "03a01Nc.wav")
    with pytest.warns(UserWarning, match="3 of 535"):
        data = load_emodb(folder)
    assert data.recordings.tolist() == [
        str(folder / name) for name in ("03a01Fa.wav", "03a01Nc.wav", "16b10Wb.wav")
    ]
    assert data.target.tolist() == ["happiness", "neutral", "anger"]
    assert data.groups.tolist() == ["03", "03", "16"]
    assert data.frame.iloc[2, 1:].to_dict() == {
        "emotion": "anger",
        "speaker": "16",
        "sex": "female",
        "age": 31,
        "sentence": "b10",
        "text": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
        "version": "b",
        "language": "de",
    }
    assert "emodb.bilderbar.info" in data.DESCR


def test_transcoded_and_in_capitals(grow):
    names = ("A/03A01FA.WAV", "03a01Nc.FLAC", "03a01Wa.ogg", "x/y/03a02Ta.Mp3", "08a01Ab.opus")
    with pytest.warns(UserWarning, match="5 of 535"):
        data = load_emodb(str(grow(*names)))
    assert data.target.tolist() == ["happiness", "neutral", "anger", "sadness", "fear"]
    assert data.frame["sentence"].tolist() == ["a01", "a01", "a01", "a02", "a01"]
    assert data.frame["version"].tolist() == ["a", "c", "a", "a", "b"]


def test_missing_recordings_are_counted_by_speaker(one_warning, full, emodb_names):
    for name in (emodb_names[0], emodb_names[1], emodb_names[-1]):
        (full / "wav" / f"{name}.wav").unlink()
    _, message = one_warning(load_emodb, full)
    assert "532 of 535 recordings; speaker 03 has 47 of 49, 16 has 70 of 71." in message


def test_long_list_of_incomplete_speakers_is_abbreviated(one_warning, grow):
    _, message = one_warning(load_emodb, grow("03a01Fa.wav"))
    assert "1 of 535 recordings; speaker 03 has 1 of 49, 08 has 0 of 58, 09 has 0 of" in message
    assert "12 has 0 of 35 and 4 more." in message


def test_unknown_names_are_skipped(one_warning, full):
    # An unknown speaker, sentence and emotion, a name within a name, and another name.
    for name in ("04a01Fa", "03a03Fa", "03a01Xa", "x03a01Fa", "03a01Fa2"):
        (full / f"{name}.wav").touch()
    data, message = one_warning(load_emodb, full)
    assert "5 audio files skipped" in message
    assert "03a01Fa2.wav, 03a01Xa.wav, 03a03Fa.wav and 2 more. File names look like" in message
    assert len(data.recordings) == 535


def test_copies_are_used_once_from_the_known_folder(one_warning, full, emodb_names):
    first, second, third = sorted(emodb_names)[:3]
    (full / f"{second}.flac").touch()
    (full / "wav" / f"{first}.flac").touch()
    (full / "copy" / "wav").mkdir(parents=True)
    (full / "copy" / "wav" / f"{third}.wav").write_text(f"{third}.wav")
    data, message = one_warning(load_emodb, full)
    assert f"3 recordings occur more than once, such as wav/{second}.wav and {second}" in message
    assert len(data.recordings) == 535
    taken = {str(Path(recording).relative_to(full)) for recording in data.recordings}
    assert {f"wav/{name}.wav" for name in (first, second, third)} <= taken


def test_another_signal_is_not_taken_for_the_voice(full, emodb_names):
    """In version 2.0, laryngo/ has the names of wav/."""
    (full / "laryngo").mkdir()
    for name in (*emodb_names, "16b10Tz"):
        (full / "laryngo" / f"{name}.wav").write_text("another signal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_emodb(full)
    assert len(data.recordings) == 535
    assert {Path(recording).parent.name for recording in data.recordings} == {"wav"}


def test_added_recordings_of_version_2(one_warning, full, emodb_names):
    added = [f"{name[:6]}{version}" for name in emodb_names for version in "xyz"][:281]
    for name in added:
        (full / "wav" / f"{name}.wav").touch()
    data, message = one_warning(load_emodb, full)
    n = 535 + len(set(added))
    assert len(data.recordings) == n
    assert f"{n} recordings, {n - 535} more than the 535 of the original corpus" in message
    assert "emotion.categories.ambiguous" in data.DESCR


def test_equal_names_with_different_contents_in_unknown_folders(grow):
    folder = grow("voice/03a01Fa.wav", "throat/03a01Fa.wav", "voice/03a01Nc.wav")
    (folder / "throat" / "03a01Fa.wav").write_text("another signal")
    with pytest.raises(
        ValueError,
        match=r"1 recordings occur in several .*throat/03a01Fa.wav and voice/03a01Fa.wav\..*"
        r"corpus.throat' or .*corpus.voice', or remove",
    ):
        load_emodb(folder)
    # Byte-equal files are copies, and formats of one folder are the same recording.
    (folder / "throat" / "03a01Fa.wav").write_text("03a01Fa.wav")
    (folder / "throat" / "03a01Fa.flac").touch()
    with (
        pytest.warns(UserWarning, match="2 of 535"),
        pytest.warns(UserWarning, match="1 recordings occur more than once"),
    ):
        data = load_emodb(folder)
    assert data.recordings[0] == str(folder / "throat" / "03a01Fa.wav")


def test_other_containers_are_recordings_and_other_videos_no_warning(one_warning, full):
    first = sorted(path.stem for path in (full / "wav").iterdir())[0]
    (full / "wav" / f"{first}.wav").rename(full / "wav" / f"{first}.m4a")
    (full / "film.mp4").touch()
    (full / "take.wma").touch()
    data, message = one_warning(load_emodb, full)
    assert message.startswith("Emo-DB: 1 audio files skipped")
    assert "take.wma" in message
    assert data.recordings[0] == str(full / "wav" / f"{first}.m4a")


def test_folder_without_recordings_of_the_corpus(grow):
    folder = grow("music/song.mp3", "music/tune.wav", "03a01Fa.txt")
    with pytest.raises(ValueError, match=r"has 2 audio files, such as music/tune.wav, .*03a01Fa"):
        load_emodb(folder)
    with pytest.raises(ValueError, match=r"has 0 audio files and none is .*Emo-DB"):
        load_emodb(grow(folder="empty"))


def test_folder_that_is_no_folder(grow):
    folder = grow("03a01Fa.wav")
    with pytest.raises(FileNotFoundError, match=r"nowhere' does not exist.*535.*bilderbar"):
        load_emodb(folder / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"03a01Fa.wav' is a file.*535.*bilderbar"):
        load_emodb(folder / "03a01Fa.wav")


def test_home_folder_and_symbolic_link(full, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(full.parent))
    monkeypatch.setenv("USERPROFILE", str(full.parent))
    assert len(load_emodb(f"~/{full.name}").recordings) == 535
    links = tmp_path / "links"
    links.mkdir()
    try:
        os.symlink(full, links / "b", target_is_directory=True)
        os.symlink(links, links / "a", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_emodb(links)
    assert len(data.recordings) == 535
    assert data.recordings[0].startswith(str(links / "b"))


def test_emotions_and_return_X_y(full):
    recordings, target = load_emodb(full, emotions=["fear", "neutral"], return_X_y=True)
    assert set(target) == {"fear", "neutral"}
    assert all(Path(r).stem[5] in "AN" for r in recordings)
    assert len(recordings) == sum(
        Path(r).stem[5] in "AN" for r in load_emodb(full, as_frame=True).recordings
    )


def test_emotions_of_the_corpus_that_a_part_of_it_lacks(grow):
    folder = grow("03a01Fa.wav", "03a01Nc.wav")
    with pytest.warns(UserWarning, match="2 of 535"):
        data = load_emodb(folder, emotions=["happiness", "disgust"])
    assert data.target.tolist() == ["happiness"]
    with (
        pytest.warns(UserWarning, match="2 of 535"),
        pytest.raises(ValueError, match="'calm', which these recordings do not have"),
    ):
        load_emodb(folder, emotions=["calm"])


@pytest.mark.parametrize(
    ("name", "value"), [("folder", 3), ("emotions", 3), ("return_X_y", "yes"), ("as_frame", None)]
)
def test_parameters_are_validated(name, value):
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of load_emodb"):
        load_emodb(**{"folder": "nowhere", name: value})


def test_a_pattern_may_take_the_speaker_from_the_folder(grow):
    layout = CorpusLayout("SAVEE", r"(?P<speaker>dc|je)[/_](?P<emotion>sa|a)\d\d", "", "", "")
    folder = grow("DC/a01.wav", "JE/sa01.wav", "JE_a01.wav", "XX/a01.wav")
    with pytest.warns(UserWarning, match=r"1 audio files skipped.*XX/a01\.wav"):
        found = scan_corpus(folder, layout)
    assert found["speaker"].tolist() == ["dc", "je", "je"]
    assert found["emotion"].tolist() == ["a", "a", "sa"]
    # Users may pass the folder of a single speaker.
    assert scan_corpus(folder / "DC", layout)["speaker"].tolist() == ["dc"]


def test_real_corpus(metadata):
    folder, rows = metadata("emodb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_emodb(folder)
    assert len(rows) == 535
    assert [Path(recording).name for recording in data.recordings] == [row["file"] for row in rows]
    for column in ("emotion", "speaker", "sex", "sentence", "text", "version", "language"):
        assert data.frame[column].tolist() == [row[column] for row in rows], column
    assert data.frame["age"].tolist() == [int(row["age"]) for row in rows]
    assert data.target.tolist() == [row["emotion"] for row in rows]
    assert data.groups.tolist() == [row["speaker"] for row in rows]
    # The only empty cell, as in the description.
    cells = Counter(zip(data.groups, data.target, strict=True))
    empty = [
        (speaker, emotion)
        for speaker in sorted(set(data.groups))
        for emotion in data.target_names
        if not cells[speaker, emotion]
    ]
    assert empty == [("08", "disgust")]


def test_description_has_the_corpus_counts(metadata):
    folder, rows = metadata("emodb")
    data = load_emodb(folder)
    counts = Counter((row["speaker"], row["emotion"]) for row in rows)
    for speaker in sorted({row["speaker"] for row in rows}):
        line = next(line for line in data.DESCR.splitlines() if line.startswith(f"{speaker} "))
        said = [int(cell) for cell in line.split()[2:]]
        real = [counts[speaker, emotion] for emotion in data.target_names]
        assert said == [*real, sum(real)]
