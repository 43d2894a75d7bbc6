"""The user's own recordings: folders per emotion, CSV files and DataFrames."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ser.audio import SegmentOfFile
from sklearn_ser.datasets import load_recordings

FILES = ("a.wav", "b.wav", "c.flac")


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def folder(grow):
    return grow("calm/spk08/x.wav", "anger/spk03_1.wav", "anger/take2/deep/spk08.FLAC")


@pytest.fixture
def table(grow):
    """Return a function that writes a CSV file in a folder with three recordings."""
    root = grow(*(f"audio/{name}" for name in FILES))

    def write(*lines, encoding="utf-8"):
        (root / "table.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return root / "table.csv"

    return write


def names(data):
    return [Path(recording).name for recording in data.recordings]


# Folders


def test_folder_names_are_the_emotions(folder):
    (folder / "calm" / ".hidden.wav").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "x.wav").touch()
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").touch()
    (folder / "metadata.csv").touch()
    data = load_recordings(folder)
    found = ("anger/spk03_1.wav", "anger/take2/deep/spk08.FLAC", "calm/spk08/x.wav")
    assert data.recordings.tolist() == [str(folder / name) for name in found]
    assert data.target.tolist() == ["anger", "anger", "calm"]
    assert data.target_names == ["anger", "calm"]
    assert data.groups is None
    assert list(data.frame) == ["recording", "emotion"]
    assert "- anger: 2\n- calm: 1" in data.DESCR
    assert str(folder) in data.DESCR


@pytest.mark.parametrize(
    ("pattern", "speakers"),
    [
        (r"spk(\d+)", ["03", "08", "08"]),
        (r"spk\d+", ["spk03", "spk08", "spk08"]),
        (r"^[^/]+", ["anger", "anger", "calm"]),
        (r"(\d)(\d)", ["0", "0", "0"]),
    ],
)
def test_speaker_pattern(folder, pattern, speakers):
    data = load_recordings(folder, speaker=pattern)
    assert data.groups.tolist() == speakers
    assert data.frame["speaker"].tolist() == speakers


def test_speaker_pattern_that_does_not_match(folder):
    with pytest.raises(ValueError, match=r"no speaker in 1 of 3 paths: anger/spk03_1\.wav\."):
        load_recordings(folder, speaker=r"spk(08)")
    # A group that does not participate in the match gives no speaker.
    with pytest.raises(ValueError, match=r"no speaker in 1 of 3 paths: calm/spk08/x\.wav\."):
        load_recordings(folder, speaker=r"calm|spk(\d+)")
    with pytest.raises(ValueError, match=r"'spk\(' is not a regular expression: .*unterminated"):
        load_recordings(folder, speaker="spk(")


def test_folder_has_no_columns(folder):
    with pytest.raises(ValueError, match=r"path='x' names a column of a table.*Leave path"):
        load_recordings(folder, path="x")


@pytest.mark.parametrize("inside", [False, True])
def test_folders_of_splits_are_no_emotions(grow, inside):
    names = ["train/anger/a.wav", "train/calm/b.wav", "Test/calm/c.wav"]
    if inside:
        names = ["anger/train/a.wav", "calm/train/b.wav", "calm/Test/c.wav"]
    data = load_recordings(grow(*names))
    found = [Path(path).stem for path in data.recordings]
    targets = dict(zip(found, data.target, strict=True))
    splits = dict(zip(found, data.frame["split"], strict=True))
    assert targets == {"a": "anger", "b": "calm", "c": "calm"}
    assert splits == {"a": "train", "b": "train", "c": "Test"}


def test_folders_of_splits_alone(grow):
    folder = grow("train/a_wut.wav", "test/b_trauer.wav")
    with pytest.raises(ValueError, match=r"named for splits, not for emotions: test, train\."):
        load_recordings(folder)
    assert load_recordings(folder, label_level=0).target.tolist() == ["test", "train"]
    data = load_recordings(folder, label=r"_(\w+)\.wav$")
    assert data.target.tolist() == ["trauer", "wut"]
    assert data.frame["split"].tolist() == ["test", "train"]


def test_folders_of_speakers_are_no_emotions(grow):
    names = [f"000{n}/{emotion}/{n}.wav" for n in (1, 2) for emotion in ("Angry", "Wistful")]
    folder = grow(*names)
    for path in folder.rglob("*.wav"):
        path.write_text(str(path))
    with pytest.raises(
        ValueError,
        match=r"Levels: 0: 0001, 0002; 1: Angry, Wistful\. Level 1 looks .*label_level=1,",
    ):
        load_recordings(folder)
    for choice in ({"label_level": 1}, {"label_level": -1}, {"label": "/([^/]+)/"}):
        data = load_recordings(folder, speaker=r"^[^/]+", **choice)
        assert data.target.tolist() == ["anger", "Wistful"] * 2
        assert data.groups.tolist() == ["0001", "0001", "0002", "0002"]
    with pytest.raises(ValueError, match="label='x' or label_level=1, not both"):
        load_recordings(folder, label="x", label_level=1)


def test_unknown_names_on_two_levels_are_ambiguous(grow):
    folder = grow("a/x/1.wav", "a/y/2.wav", "b/x/3.wav")
    with pytest.raises(ValueError, match=r"0: a, b; 1: x, y\. Choose one with `label_level`"):
        load_recordings(folder)
    assert load_recordings(folder, label_level=0).target.tolist() == ["a", "a", "b"]


def test_one_folder_above_the_emotions(grow):
    with pytest.raises(ValueError, match=r"are: all\. .*Level 1 .*pass label_level=1\. Expected"):
        load_recordings(grow("all/anger/a.wav", "all/sad/b.wav"))


def test_level_that_some_recordings_lack(grow, one_warning):
    folder = grow("x/anger/a.wav", "x/calm/b.wav", "x/c.wav")
    data, message = one_warning(load_recordings, folder, label_level=1)
    assert data.target.tolist() == ["anger", "calm"]
    assert message.endswith("are skipped: x/c.wav.")
    with pytest.raises(ValueError, match=r"label_level=2: .* 3 audio files, and 2 levels"):
        load_recordings(folder, label_level=2)


def test_other_containers_are_not_dropped(grow, one_warning):
    names = ("anger/a.m4a", "anger/b.webm", "calm/c.AMR", "calm/d.wav", "calm/d.mp4")
    data, message = one_warning(load_recordings, grow(*names))
    assert [Path(path).name for path in data.recordings] == ["a.m4a", "b.webm", "c.AMR", "d.wav"]
    assert message.startswith("1 files in source=")
    assert message.endswith("used instead: calm/d.mp4.")


# Names of emotions


def test_synonyms_are_replaced(grow):
    folder = grow("Angry/a.wav", "happiness/b.wav", "happy/c.wav", "wistful/d.wav")
    data = load_recordings(folder)
    assert data.target.tolist() == ["anger", "happiness", "happiness", "wistful"]
    assert data.frame["original_emotion"].tolist() == ["Angry", "happiness", "happy", "wistful"]
    assert "- happiness: 2" in data.DESCR
    data = load_recordings(folder, emotions=np.array(["happy", "wistful"]))
    assert data.target.tolist() == ["happiness", "happiness", "wistful"]
    data = load_recordings(folder, emotions={"angry": "angry"})
    assert data.target.tolist() == ["angry"]
    with pytest.raises(ValueError, match="gives 'happiness' and its synonyms different names"):
        load_recordings(folder, emotions={"happy": "x", "happiness": "y"})
    data = load_recordings(folder, standardize_emotions=False)
    assert data.target.tolist() == ["Angry", "happiness", "happy", "wistful"]
    assert list(data.frame) == ["recording", "emotion"]


def test_synonyms_in_a_table(table):
    path = table("path,emotion,original_emotion", "audio/a.wav,sad,x", "audio/b.wav,fearful,y")
    frame = load_recordings(path).frame
    assert frame["emotion"].tolist() == ["sadness", "fear"]
    assert frame["original_emotion"].tolist() == ["sad", "fearful"]
    assert frame["source_original_emotion"].tolist() == ["x", "y"]
    with pytest.raises(ValueError, match=r"label_level=0 is for folders"):
        load_recordings(path, label_level=0)


def test_names_in_errors_are_plain(folder):
    with pytest.raises(ValueError, match=r"^emotions=\['calm', 'x'\] names 'x', which"):
        load_recordings(folder, emotions=np.array(["calm", "x"]))


def test_too_few_classes(grow):
    with pytest.raises(
        ValueError, match=r"has 2 audio files, .*recordings are: all\. .*sub-folder"
    ):
        load_recordings(grow("all/a.wav", "all/deep/b.wav", folder="one"))
    with pytest.raises(ValueError, match=r"has 1 audio files, .*recordings are: none\."):
        load_recordings(grow("a.wav", folder="flat"))


def test_files_outside_subfolders_are_skipped(folder, one_warning):
    (folder / "loose.wav").touch()
    data, message = one_warning(load_recordings, folder)
    assert len(data.recordings) == 3
    assert message.startswith("1 audio files in source=")
    assert message.endswith("skipped: loose.wav.")


# Tables


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv(table, separator, encoding):
    lines = (
        "Filename,Emotion,Speaker ID,note",
        "audio/b.wav,anger,03,schön",
        "",
        'audio/a.wav,calm,08,"x, y; z"',
    )
    if separator != ",":
        lines = [line.replace(", ", "@").replace(",", separator) for line in lines]
        lines = [line.replace("@", ", ") for line in lines]
    path = table(*lines, encoding=encoding)
    data = load_recordings(path)
    assert data.recordings.tolist() == [str(path.parent / f"audio/{n}.wav") for n in "ba"]
    assert data.target.tolist() == ["anger", "calm"]
    assert data.groups.tolist() == ["03", "08"]
    assert list(data.frame) == ["recording", "emotion", "speaker", "note"]
    assert data.frame["note"].tolist() == ["schön", "x, y; z"]


def test_numeric_columns_are_numbers(table):
    path = table(
        "path,label,speaker,session,age,duration,arousal,take,note,Emotion_ID",
        "audio/a.wav,1,3,1,31,1.5,,01,1,1",
        "audio/b.wav,2,4,2,29,.5,-2e-1,02,x,2",
    )
    frame = load_recordings(path, label="label").frame
    assert frame["age"].tolist() == [31, 29]
    assert frame["age"].dtype == np.int64
    assert frame["duration"].tolist() == [1.5, 0.5]
    np.testing.assert_array_equal(frame["arousal"], [np.nan, -0.2])
    for name in ("speaker", "session", "take", "note", "emotion", "Emotion_ID"):
        assert all(isinstance(value, str) for value in frame[name]), name
    assert frame["take"].tolist() == ["01", "02"]


@pytest.mark.parametrize("number", ["0", "-1", "+2", "3.", "0.25", "1e-3", "123456789012345678"])
def test_spellings_of_numbers(table, number):
    path = table("path,label,n", f"audio/a.wav,x,{number}", "audio/b.wav,y,NA")
    assert load_recordings(path).frame["n"].tolist()[0] == float(number)


@pytest.mark.parametrize("text", ["007", "1,5", ".", "e5", "1_000", "0x10", "inf", "1 2", "--1"])
def test_texts_that_are_no_numbers(table, text):
    path = table("path,label,n", f'audio/a.wav,x,"{text}"', "audio/b.wav,y,1")
    assert load_recordings(path).frame["n"].tolist() == [text, "1"]


@pytest.mark.parametrize(("declared", "separator"), [("sep=;", ";"), ('"SEP=,"', ",")])
def test_declared_separator(table, declared, separator):
    lines = ("path,label,note", '"audio/a.wav",x,"a"', "audio/b.wav,,b")
    path = table(declared, *(line.replace(",", separator) for line in lines))
    with pytest.raises(ValueError, match=r"'label' of .* empty in 1 of 2 rows: line 4\."):
        load_recordings(path)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames(grow, make, monkeypatch):
    monkeypatch.chdir(grow(*FILES))
    source = make(
        {
            "wav": [*FILES],
            "label": ["calm", "anger", "calm"],
            "actor": ["03", "08", "03"],
            "arousal": [0.5, 1.5, 2.5],
        }
    )
    data = load_recordings(source, emotions={"calm": "neutral"})
    assert data.recordings.tolist() == ["a.wav", "c.flac"]
    assert data.target.tolist() == ["neutral", "neutral"]
    assert data.groups.tolist() == ["03", "03"]
    assert data.frame["arousal"].tolist() == [0.5, 2.5]
    assert data.frame["arousal"].dtype == np.float64
    X, y = load_recordings(source, as_frame=True, return_X_y=True)
    assert X.tolist() == [*FILES]
    assert isinstance(y, pd.Series)


def test_frame_with_paths_numbers_and_its_own_index(grow):
    root = grow(*FILES)
    source = pd.DataFrame(
        {"path": [root / name for name in FILES], "label": [0, 1, 0], "speaker": [7, 8, 7]},
        index=[5, 6, 7],
    )
    data = load_recordings(source)
    assert data.recordings.tolist() == [str(root / name) for name in FILES]
    assert data.target.tolist() == ["0", "1", "0"]
    assert data.groups.tolist() == ["7", "8", "7"]
    assert data.frame.index.tolist() == [0, 1, 2]


def test_without_speakers(table):
    data = load_recordings(table("path,label", "audio/a.wav,x", "audio/b.wav,y"))
    assert list(data.frame) == ["recording", "emotion"]
    assert data.groups is None


def test_columns_by_name(table):
    path = table("id,emotion,label,file,speaker,who", "audio/a.wav,1,x,take 1,s,03")
    data = load_recordings(path, path="id", label="label", speaker="who")
    assert names(data) == ["a.wav"]
    assert data.target.tolist() == ["x"]
    assert data.groups.tolist() == ["03"]
    assert data.frame.iloc[0, 1:].to_dict() == {
        "emotion": "x",
        "speaker": "03",
        "source_emotion": "1",
        "file": "take 1",
        "source_speaker": "s",
    }


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            "x,label",
            {},
            r"'x', 'label' of source=.*none has a usual name for the recording.*`path`",
        ),
        ("path,mood", {}, r"'path', 'mood' of .*none has a usual name for the label.*`label`"),
        ("path,label,emotion", {}, r"'label', 'emotion' may each be the label.*`label`"),
        ("file,path,label", {}, r"'file', 'path' may each be the recording.*`path`"),
        ("path,label,spk,Actor", {}, r"'spk', 'Actor' may each be the speaker.*`speaker`"),
        ("path,label", {"speaker": "who"}, r"speaker='who' is no column of .*'path', 'label'\."),
        ("path,label", {"label": "Label"}, r"label='Label' is no column of .*'path', 'label'\."),
        ("path,label,label", {}, r"more than one column with the name 'label'"),
    ],
)
def test_columns_that_cannot_be_identified(table, header, options, message):
    path = table(header, ",".join(["audio/a.wav"] * (header.count(",") + 1)))
    with pytest.raises(ValueError, match=message):
        load_recordings(path, **options)


def test_frame_with_two_columns_of_a_name():
    source = pd.DataFrame([["a", "b", "c"]], columns=["path", "label", "label"])
    with pytest.raises(ValueError, match="more than one column with the name 'label'"):
        load_recordings(source)


def test_missing_files(table):
    path = table("path,label", "a.wav,x", "audio/b.wav,y", "audio,z")
    with pytest.raises(FileNotFoundError, match=r"^2 of 3 recordings .*a\.wav, .*audio\. Relative"):
        load_recordings(path)


def test_empty_cells_of_a_csv_are_reported_by_line(table):
    path = table("path,label,speaker", "audio/a.wav,,1", "", "audio/b.wav, ,2", "audio/c.flac,x,")
    with pytest.raises(ValueError, match=r"'label' of .* empty in 2 of 3 rows: line 2, line 4\."):
        load_recordings(path)
    path = table("path,label,speaker", "audio/a.wav,x,1", "audio/c.flac,x,")
    with pytest.raises(ValueError, match=r"'speaker' of .* is empty in 1 of 2 rows: line 3\."):
        load_recordings(path)


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, "", "  "])
def test_empty_cells_of_a_frame_are_reported_by_row(empty):
    source = pd.DataFrame({"path": ["a", "b"], "label": ["x", empty]})
    with pytest.raises(ValueError, match=r"'label' of source is empty in 1 of 2 rows: row 1\."):
        load_recordings(source)
    if empty is None:
        with pytest.raises(ValueError, match=r"'label' of source is empty in 1 of 2 rows: row 1"):
            load_recordings(pl.DataFrame({"path": ["a", "b"], "label": ["x", None]}))


def test_file_listed_twice(table, one_warning):
    path = table(
        "path,label,speaker,take",
        "audio/a.wav,x,1,first",
        "audio/b.wav,y,1,only",
        "audio/../audio/a.wav,x,1,second",
    )
    data, message = one_warning(load_recordings, path)
    assert names(data) == ["a.wav", "b.wav"]
    assert data.target.tolist() == ["x", "y"]
    assert data.frame["take"].tolist() == ["first", "only"]
    assert message.startswith("1 rows of source=")
    assert "in line 2 and line 4." in message


@pytest.mark.parametrize("again", ["audio/a.wav,y,1", "audio/a.wav,x,2"])
def test_file_listed_twice_with_contradictions(table, again):
    path = table("path,label,speaker", "audio/a.wav,x,1", "audio/b.wav,y,1", again)
    with pytest.raises(ValueError, match=r"^1 rows of .*another emotion or .*line 2 and line 4"):
        load_recordings(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("path,label",), r"has no rows; its columns are 'path', 'label'\."),
        (("",), r"has no rows; its columns are \(none\)\."),
        (
            ("path,label", "audio/a.wav,x", "b", "c,d,e"),
            r"has 2 columns, but 2 lines have more or fewer cells: line 3, line 4\.",
        ),
        (("path,label", '"audio/a.wav"b,x'), r"is not a CSV file in UTF-8: .*pass the DataFrame"),
    ],
)
def test_broken_csv(table, lines, message):
    with pytest.raises(ValueError, match=message):
        load_recordings(table(*lines))


def test_source_that_is_no_table(table):
    path = table("path,label")
    path.write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a CSV file in UTF-8"):
        load_recordings(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere' does not exist.*folder.*CSV.*DataFrame"):
        load_recordings(path.parent / "nowhere")
    for source in (pd.Series(["a"]), np.array(["a"]), ["a"]):
        with pytest.raises(ValueError, match="'source' parameter of load_recordings"):
            load_recordings(source)


# Identical files


def test_identical_files_are_reported_and_kept(folder, one_warning):
    original = (folder / "anger" / "spk03_1.wav").read_bytes()
    (folder / "calm" / "copy.wav").write_bytes(original)
    (folder / "calm" / "again.wav").write_bytes(original)
    (folder / "calm" / "same size.wav").write_bytes(original[::-1])
    data, message = one_warning(load_recordings, folder)
    assert len(data.recordings) == 6
    assert message.startswith("3 recordings have the same contents")
    assert f"{folder / 'anger' / 'spk03_1.wav'} and {folder / 'calm' / 'again.wav'}." in message


def test_only_files_of_equal_size_are_read(folder, monkeypatch):
    sizes = [os.path.getsize(path) for path in load_recordings(folder).recordings]
    assert len(set(sizes)) == 3

    def refuse(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("sklearn_ser.datasets._recordings._digest", refuse)
    assert len(load_recordings(folder).recordings) == 3


@pytest.mark.parametrize("corpus", ["emodb", "ravdess"])
def test_real_metadata(metadata, corpus):
    folder, rows = metadata(corpus)
    # RAVDESS contains one pair of identical files, which the next test checks.
    with warnings.catch_warnings(action="ignore"):
        data = load_recordings(folder / "metadata.csv")
    assert data.recordings.tolist() == [str(folder / row["file"]) for row in rows]
    assert data.target.tolist() == [row["emotion"] for row in rows]
    assert data.groups.tolist() == [row["speaker"] for row in rows]
    assert set(data.frame) == {*rows[0], "recording"} - {"file"}


def test_identical_takes_in_the_real_ravdess(metadata, one_warning):
    folder, _ = metadata("ravdess")
    data, message = one_warning(load_recordings, folder / "metadata.csv")
    assert len(data.recordings) == 1440
    assert message.startswith("2 recordings have the same contents")
    assert "03-01-03-01-02-01-07.flac and " in message
    assert "03-01-03-01-02-02-07.flac. They" in message


def test_rows_with_times_are_segments(table):
    path = table("file,emotion,start,end", "audio/a.wav,anger,0.5,1", "audio/a.wav,calm,1,2.5")
    data = load_recordings(path)
    whole = str(path.parent / "audio/a.wav")
    assert data.recordings.tolist() == [
        SegmentOfFile(whole, 0.5, 1.0),
        SegmentOfFile(whole, 1.0, 2.5),
    ]
    assert data.target.tolist() == ["anger", "calm"]
    assert {"start", "end"} <= set(data.frame.columns)


def test_a_start_of_zero_without_an_end_is_the_whole_file(table):
    path = table("file,emotion,onset", "audio/a.wav,anger,0", "audio/b.wav,calm,")
    assert all(isinstance(recording, str) for recording in load_recordings(path).recordings)
    path = table("file,emotion,start,end", "audio/a.wav,anger,0,", "audio/b.wav,calm,0,1")
    one, other = load_recordings(path).recordings
    assert isinstance(one, str)
    assert other.end == 1


def test_segments_that_are_listed_again(table):
    row = "audio/a.wav,anger,0,1"
    path = table("file,emotion,start,end", row, row, "audio/b.wav,calm,0,1")
    with pytest.warns(UserWarning, match=r"list a recording again: .*a.wav' from 0 s to 1 s in"):
        assert len(load_recordings(path).recordings) == 2
    path = table("file,emotion,start,end", row, "audio/a.wav,calm,0,1")
    with pytest.raises(ValueError, match="list a recording again with another emotion"):
        load_recordings(path)


def test_times_that_are_no_segment_are_named(table):
    path = table("file,emotion,start,end", "audio/a.wav,anger,2,1", "audio/b.wav,calm,0,1")
    with pytest.raises(ValueError, match=r"Row 0 of source=.* is no segment of a file: start=2.0"):
        load_recordings(path)


def test_paths_that_are_written_in_another_way(grow, tmp_path):
    root = grow("wut/\u00e4rger.wav", "b.wav")
    lines = ["file,emotion", "wut\\a\u0308rger.wav,anger", "b.wav,calm"]
    (root / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    data = load_recordings(root / "table.csv")
    assert data.recordings.tolist() == [str(root / "wut/\u00e4rger.wav"), str(root / "b.wav")]


def test_named_pipes_in_a_folder_are_skipped(folder):
    for name in ("pipe.wav", "other.wav"):
        os.mkfifo(folder / "calm" / name)
    (folder / "calm" / "link.wav").symlink_to(folder / "calm" / "pipe.wav")
    assert len(load_recordings(folder).recordings) == 3
