"""MSP-Podcast: table of labels, split, unknown speakers, and size."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest

from sklearn_ser.datasets import load_msp_podcast
from sklearn_ser.datasets._msp_podcast import _EMOTIONS

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
ROWS = (
    "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1\n"
    "MSP-PODCAST_0002_0033.wav,A,5.8,2.0,5.4,45,Female,Train\n"
    "MSP-PODCAST_0002_0039.wav,X,3.0,3.5,4.0,45,Female,Train\n"
    "MSP-PODCAST_0003_0001.wav,H,6.0,6.5,5.0,7,Female,Development\n"
)
FILES = [row.partition(",")[0] for row in ROWS.splitlines()]


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def release(tmp_path):
    """Return a function that builds a release."""

    def build(
        table=HEADER + ROWS,
        files=FILES,
        root="MSP-PODCAST-Publish-1.11",
        audios="Audios",
        labels="labels_consensus.csv",
        transcripts=None,
        votes=None,
    ):
        folder = tmp_path / root
        for name in ("Labels", audios):
            (folder / name).mkdir(parents=True, exist_ok=True)
        table = table if isinstance(table, bytes) else table.encode()
        (folder / "Labels" / labels).write_bytes(table)
        for name in files:
            (folder / audios / name).touch()
        for name, text in (votes or {}).items():
            (folder / "Labels" / name).write_text(text)
        for name, text in (transcripts or {}).items():
            (folder / "Transcripts").mkdir(exist_ok=True)
            (folder / "Transcripts" / f"{name}.txt").write_bytes(text)
        return folder

    return build


def test_labels_are_read_from_the_table(release):
    folder = release()
    data = load_msp_podcast(folder)
    assert data.recordings[0] == str(folder / "Audios" / "MSP-PODCAST_0001_0008.wav")
    assert data.target.tolist() == ["neutral", "anger", "happiness"]
    assert data.groups.tolist() == ["30", "45", "7"]
    assert data.split.tolist() == ["Test1", "Train", "Development"]
    assert data.arousal.tolist() == [2.2, 5.8, 6.0]
    assert data.valence.tolist() == [4.0, 2.0, 6.5]
    assert data.dominance.tolist() == [2.6, 5.4, 5.0]
    assert "text" not in data
    assert data.frame.iloc[1, 1:].to_dict() == {
        "emotion": "anger",
        "speaker": "45",
        "sex": "female",
        "split": "Train",
        "arousal": 5.8,
        "valence": 2.0,
        "dominance": 5.4,
        "language": "en",
    }


def test_turns_without_agreement_are_no_emotion_but_have_dimensions(release):
    data = load_msp_podcast(release(), target="dimensions", split="Train")
    assert data.target.tolist() == [[5.8, 2.0, 5.4], [3.0, 3.5, 4.0]]
    assert data.target_names == ["arousal", "valence", "dominance"]
    assert data.frame["emotion"].tolist() == ["anger", "no agreement"]
    _, y = load_msp_podcast(
        release(), target="dimensions", emotions=["anger"], as_frame=True, return_X_y=True
    )
    expected = {"arousal": [5.8], "valence": [2.0], "dominance": [5.4]}
    pd.testing.assert_frame_equal(y, pd.DataFrame(expected))


def test_split_chooses_parts(release):
    folder = release()
    assert load_msp_podcast(folder, split="Test1").target.tolist() == ["neutral"]
    parts = ["Test1", "Development"]
    assert load_msp_podcast(folder, split=parts).target.tolist() == ["neutral", "happiness"]
    for wrong in ("train", ["Train", "Test9"], []):
        with pytest.raises(ValueError, match="'Development', 'Test1', 'Train'"):
            load_msp_podcast(folder, split=wrong)
    with pytest.raises(ValueError, match=r"split=\['x'\] must be"):
        load_msp_podcast(folder, split=np.array(["x"]))


def test_audio_of_other_parts_may_be_absent(release):
    folder = release(files=FILES[1:3])
    assert load_msp_podcast(folder, split="Train").groups.tolist() == ["45"]
    with pytest.raises(ValueError, match="none of the 1 labelled recordings"):
        load_msp_podcast(folder, split="Test1")


def test_every_class(release):
    letters = [*_EMOTIONS, "X"]
    rows = [f"MSP-PODCAST_1_{n}.wav,{c},1,1,1,3,Male,Train\n" for n, c in enumerate(letters)]
    folder = release(HEADER + "".join(rows), [row.partition(",")[0] for row in rows])
    data = load_msp_podcast(folder)
    assert data.target.tolist() == list(_EMOTIONS.values())
    names = [*_EMOTIONS.values(), "no agreement"]
    assert load_msp_podcast(folder, emotions=names).target.tolist() == names


CLEAN = HEADER + ROWS
VARIANTS = {
    "CRLF": CLEAN.replace("\n", "\r\n"),
    "no final newline": CLEAN.rstrip("\n"),
    "trailing blanks": CLEAN.replace("\n", "  \n"),
    "blank lines": CLEAN.replace("\n", "\n\n  \n"),
    "tabs": CLEAN.replace(",", "\t"),
    "blanks around cells": CLEAN.replace(",", " , "),
    "quotes": "\n".join('"' + '","'.join(line.split(",")) + '"' for line in CLEAN.splitlines()),
    "byte order mark": CLEAN.encode("utf-8-sig"),
    "upper-case endings": CLEAN.replace(".wav", ".WAV"),
    "other letter case": CLEAN.replace("FileName", "filename").replace(",A,", ",a,"),
    "other column order": "\n".join(
        ",".join(reversed(line.split(","))) for line in CLEAN.splitlines()
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_the_table(release, variant):
    usual = load_msp_podcast(release()).frame.drop(columns="recording")
    frame = load_msp_podcast(release(VARIANTS[variant], root="other")).frame
    pd.testing.assert_frame_equal(frame.drop(columns="recording"), usual)


def test_layouts(release):
    other = release(
        root="above/older",
        audios="audio",
        labels="labels_concensus.csv",
        files=[name.replace(".wav", ".FLAC") for name in FILES],
    )
    assert len(load_msp_podcast(other).recordings) == 3
    assert load_msp_podcast(other.parent).recordings[0].endswith("_0008.FLAC")
    # If both spellings exist, the correct one is newer.
    release(ROWS.replace(",N,", ",S,"), root="above/older", labels="labels_concensus.csv")
    release(CLEAN.replace(",N,", ",U,"), root="above/older", audios="audio", files=[])
    assert load_msp_podcast(other).target[0] == "surprise"


def test_two_releases(release):
    release(root="above/Publish-1.10")
    folder = release(root="above/Publish-1.11").parent
    with pytest.raises(ValueError, match=r"2 releases of MSP-Podcast: Publish-1.10, Publish-1.11"):
        load_msp_podcast(folder)


def test_missing_and_unlabelled_audio(one_warning, release):
    folder = release(files=FILES[1:])
    data, message = one_warning(load_msp_podcast, folder)
    assert len(data.recordings) == 2
    assert "1 of 4 labelled recordings have no audio file" in message
    folder = release(files=[*FILES, "MSP-PODCAST_test3_0001.wav", "MSP-PODCAST_test3_0002.wav"])
    data, message = one_warning(load_msp_podcast, folder)
    assert len(data.recordings) == 3
    assert "2 recordings have no label and are skipped" in message
    assert "MSP-PODCAST_test3_0001.wav" in message


def test_unknown_classes(release):
    table = CLEAN.replace(",N,", ",Q,").replace(",H,", ",,")
    classes = (
        r"2 turns have an unknown class and are labelled 'no agreement': 'Q' \(1\), '' \(1\)\."
    )
    with pytest.warns(UserWarning, match=classes) as caught:
        data = load_msp_podcast(release(table))
    assert len(caught) == 1
    assert data.target.tolist() == ["anger"]
    with pytest.warns(UserWarning, match=classes):
        everything = load_msp_podcast(release(table), target="dimensions")
    assert len(everything.recordings) == 4


def test_missing_ratings(one_warning, release):
    folder = release(CLEAN.replace(",5.8,", ",n/a,").replace(",6.5,", ",,"))
    data, message = one_warning(load_msp_podcast, folder)
    assert "2 of 4 recordings have no rating" in message
    assert "have NaN instead" in message
    np.testing.assert_array_equal(data.arousal, [2.2, np.nan, 6.0])
    data, message = one_warning(load_msp_podcast, folder, target="dimensions")
    assert "are skipped" in message
    assert data.split.tolist() == ["Test1", "Train"]
    assert data.target.tolist() == [[2.2, 4.0, 2.6], [3.0, 3.5, 4.0]]


@pytest.mark.parametrize("word", ["Unknown", "unknown", ""])
def test_unknown_speakers_are_reported(one_warning, release, word):
    folder = release(CLEAN.replace(",45,", f",{word},"))
    data, message = one_warning(load_msp_podcast, folder)
    assert data.groups.tolist() == ["30", "Unknown", "7"]
    assert "the speaker of 2 of 4 turns is not known" in message
    # Parts without unknown speakers are loaded without a warning.
    assert load_msp_podcast(folder, split="Test1").groups.tolist() == ["30"]


def test_turn_listed_twice(one_warning, release):
    folder = release(CLEAN + ROWS.splitlines()[0].replace(",N,", ",S,"))
    data, message = one_warning(load_msp_podcast, folder)
    assert "1 rows list a turn again: MSP-PODCAST_0001_0008.wav" in message
    assert data.target.tolist() == ["neutral", "anger", "happiness"]


def test_extra_columns_are_kept(release):
    lines = CLEAN.splitlines()
    lines = [
        lines[0] + ",Podcast,text",
        *(f"{line},show {n},t" for n, line in enumerate(lines[1:])),
    ]
    frame = load_msp_podcast(release("\n".join(lines))).frame
    assert frame["Podcast"].tolist() == ["show 0", "show 1", "show 3"]
    assert frame["source_text"].tolist() == ["t"] * 3


def test_transcripts(one_warning, release):
    words = {
        "MSP-PODCAST_0001_0008": b"Well, yes.\r\n",
        "msp-podcast_0002_0033": b"the caf\xe9\n",
        "MSP-PODCAST_0003_0001": b"",
    }
    folder = release(transcripts=words)
    data, message = one_warning(load_msp_podcast, folder, transcripts=True)
    assert data.text.tolist() == ["Well, yes.", "the café", ""]
    assert data.frame["text"].tolist() == data.text.tolist()
    assert "1 of 4 recordings have no transcript: msp-podcast_0002_0039" in message
    data, message = one_warning(load_msp_podcast, release(root="none"), transcripts=True)
    assert data.text.tolist() == [None] * 3
    assert "4 of 4" in message


# In the layouts of three releases: one line for each worker, or one column for each answer.
WORKERS = {
    "0001_0008": ["Neutral; Neutral", "Other-confused; Concerned,Confused", "Neutral; Neutral"],
    "0002_0033": ["Angry; Angry,Annoyed", "Disgust; Disgust", "angry; Angry", "Contempt; "],
    "0002_0039": ["Sad; Sad", "Happy; Happy", "Fear; Fear", "Surprise; Amused,Surprise"],
    "0003_0001": [],
}
ANSWERS = [
    (f"MSP-PODCAST_{turn}.wav", n, *answer.split("; "))
    for turn, answers in WORKERS.items()
    for n, answer in enumerate(answers)
]
DETAILS = [
    (file, f"WORKER{n:08d}; {primary}; {secondary}; A:3.000000; V:4.000000; D:3.000000;")
    for file, n, primary, secondary in ANSWERS
]
VOTE_FILES = {
    "labels_detailed.csv": "FileName,EmoDetail\n"
    + "".join(f'{file},"{detail}"\n' for file, detail in DETAILS),
    "labels_detailed.CSV": "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
    + "".join(f'{f},WORKER{n},{one},"{others}",3,4,3\n' for f, n, one, others in ANSWERS),
    "labels.txt": "\n\n".join(
        "\n".join(
            [f"{file}; N; A:2.400000; V:4.000000; D:2.800000;"]
            + [detail for other, detail in DETAILS if other == file]
        )
        for file in FILES
    ),
}


@pytest.mark.parametrize("name", VOTE_FILES)
def test_votes_as_soft_labels(one_warning, release, name):
    folder = release(votes={name: VOTE_FILES[name]})
    data, message = one_warning(load_msp_podcast, folder, target="votes", as_frame=True)
    assert "1 of 4 recordings have no votes for anger, contempt" in message
    assert data.target_names == list(data.target) == sorted(_EMOTIONS.values())
    voted = [{k: v for k, v in row.items() if v} for row in data.target.to_dict("records")]
    quarters = dict.fromkeys(["sadness", "happiness", "fear", "surprise"], 1 / 4)
    assert voted == [
        pytest.approx({"neutral": 2 / 3, "other": 1 / 3}),
        {"anger": 1 / 2, "disgust": 1 / 4, "contempt": 1 / 4},
        quarters,
    ]
    assert data.frame["emotion"].tolist() == ["neutral", "anger", "no agreement"]
    assert data.split.tolist() == ["Test1", "Train", "Train"]
    options = {"target": "votes", "emotions": ["fear", "anger"], "split": "Train"}
    assert load_msp_podcast(folder, return_X_y=True, **options)[1].tolist() == [[1, 0], [0, 1]]


def test_files_of_votes(release):
    folder = release()
    message = r"needs labels_detailed\.csv or labels\.txt of MSP-Podcast.*target='emotion'"
    with pytest.raises(FileNotFoundError, match=message):
        load_msp_podcast(folder, target="votes")
    both = {"labels.txt": "", "labels_detailed.csv": VOTE_FILES["labels_detailed.csv"]}
    data = load_msp_podcast(release(votes=both), target="votes", split=["Test1", "Train"])
    assert len(data.recordings) == 3
    release(votes={"labels_detailed.csv": "FileName,Votes\na.wav,3\n"})
    with pytest.raises(ValueError, match=r"EmoClass_Major or EmoDetail; .* are FileName, Votes"):
        load_msp_podcast(folder, target="votes")


def test_incomplete_releases(tmp_path, release):
    with pytest.raises(FileNotFoundError, match="on request"):
        load_msp_podcast(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no Labels/labels_consensus\.csv"):
        load_msp_podcast(tmp_path)
    with pytest.raises(ValueError, match=r"has no column EmoClass, Split_Set; its columns are"):
        load_msp_podcast(release(CLEAN.replace("EmoClass", "c").replace("Split_Set", "s")))
    with pytest.raises(ValueError, match="has 8 columns, but 1 lines have more or fewer cells"):
        load_msp_podcast(release(CLEAN.replace(",N,", ",N,N,")))
    with pytest.raises(ValueError, match="labels of MSP-Podcast but no folder Audios"):
        load_msp_podcast(release(audios="Sounds", root="silent"))
    with pytest.raises(ValueError, match="names 'joy'"):
        load_msp_podcast(release(), emotions=["joy"])


@pytest.mark.slow
def test_30_000_turns_load_in_seconds(release, monkeypatch):
    names = [f"MSP-PODCAST_{n // 100:04d}_{n:06d}.wav" for n in range(30_000)]
    rows = [f"{name},N,2.2,4.0,2.6,{n % 1000},Male,Train\n" for n, name in enumerate(names)]
    folder = release(HEADER + "".join(rows), [])
    walk = "sklearn_ser.datasets._scan.os.walk"
    monkeypatch.setattr(walk, lambda top, **_: [(str(top), [], names)])
    start = time.process_time()
    data = load_msp_podcast(folder)
    # Takes less than 1 s; quadratic algorithms would take minutes.
    assert time.process_time() - start < 10
    assert len(data.recordings) == 30_000
    assert data.groups[-1] == "999"
