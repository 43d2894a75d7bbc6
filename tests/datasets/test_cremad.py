"""CREMA-D: file names, listeners' votes and speaker-independent folds."""

import warnings
from collections import Counter
from itertools import product

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit

from sklearn_ser.datasets import load_cremad
from sklearn_ser.datasets._cremad import _LAYOUT

ACTORS = range(1001, 1092)
OTHERS = ("DFA", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
ACTED = ("ANG", "DIS", "FEA", "HAP", "SAD")
GRID = [
    *(f"{sentence}_{emotion}_XX" for sentence, emotion in product(OTHERS, (*ACTED, "NEU"))),
    *(f"IEO_{emotion}_{level}" for emotion, level in product(ACTED, ("LO", "MD", "HI"))),
    "IEO_NEU_XX",
]
# 20 recordings of the full grid were not made; these tests do not depend on which.
ABSENT = {f"{1001 + n}_DFA_{emotion}_XX" for n in range(3) for emotion in ACTED}
ABSENT |= {f"{1001 + n}_DFA_NEU_XX" for n in range(5)}
NAMES = [name for actor in ACTORS for what in GRID if (name := f"{actor}_{what}") not in ABSENT]
NAMES[NAMES.index("1040_ITH_SAD_XX")] = "1040_ITH_SAD_X"

DEMOGRAPHICS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1002,21,"Female","Caucasian","Not Hispanic"
"""
SUMMARY = """"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote",\
"MultiModalLevel"
"1","1001_IEO_NEU_XX","N","69.1","N","92.22","N","64.78"
"2","1001_IEO_HAP_LO","N","71.67","H","57","H","57.38"
"3","1001_IEO_ANG_LO","A:D","50:60","A","57","A","57.38"
"4","1001_IEO_SAD_LO","A:D","50:60","A","57","A","57.38"
"5","1002_IEO_SAD_LO","D:F:S","50:60:55","S","57","S","57.38"
"6","1040_ITH_SAD_XX","S","50","S","57","S","57.38"
"""
# The header and the first two rows are from the corpus, followed by a tie and by rows for the face
# alone and for both.
EMOTION_COLUMNS = ("Emo", "Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
LEVEL_COLUMNS = [
    *(f"mean{emotion}Resp" for emotion in EMOTION_COLUMNS),
    "medianEmoResp",
    *(f"mean{emotion}RespNorm" for emotion in EMOTION_COLUMNS),
    "medianEmoRespNorm",
]
VOTE_COLUMNS = ["", *"ADFHNS", "fileName", "numResponses", "agreement", "emoVote", *LEVEL_COLUMNS]
VOTE_ROWS = (
    '"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11,0.909090909090909,"N",71.7272727272727,-1,-1,-1,98,'
    "69.1,-1,87,66.1713199530713,-1,-1,-1,97.8947368421053,62.9989782641679,-1,83.3333333333333",
    '"100002",0,0,0,3,6,0,"1001_IEO_HAP_LO",9,0.666666666666667,"N",62,-1,-1,-1,42.6666666666667,'
    "71.6666666666667,-1,72,53.8161602678193,-1,-1,-1,36.292735042735,62.5778728803614,-1,53.8461538461539",
    '"100003",4,4,1,0,0,0,"1001_IEO_ANG_LO",9,0.444444444444444,"A:D"' + 16 * ",-1",
    '"200001",0,0,0,0,9,0,"1001_IEO_NEU_XX",9,1,"N"' + 16 * ",-1",
    '"300002",0,0,0,9,0,0,"1001_IEO_HAP_LO",9,1,"H"' + 16 * ",-1",
)
VOTES = "\n".join([",".join(f'"{column}"' for column in VOTE_COLUMNS), *VOTE_ROWS, ""])
FEW = ("1001_IEO_NEU_XX", "1001_IEO_HAP_LO", "1001_IEO_ANG_LO", "1001_IEO_SAD_LO")
FEW += ("1002_IEO_SAD_LO", "1002_IEO_SAD_MD", "1040_ITH_SAD_X")


@pytest.fixture(scope="module")
def whole(grow_to_read):
    """Return the complete corpus, which must not be changed."""
    return grow_to_read(*(f"AudioWAV/{name}.wav" for name in NAMES))


@pytest.fixture
def full(grow):
    """Return a complete corpus that may be changed."""
    return grow(*(f"AudioWAV/{name}.wav" for name in NAMES))


@pytest.fixture
def few(grow):
    return grow(*(f"AudioWAV/{name}.wav" for name in FEW))


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings, except those about missing recordings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=r"CREMA-D: \d+ of 7442 recordings; ")
        yield


def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.slow
def test_complete_corpus_is_silent(whole):
    assert len(NAMES) == 7442
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_cremad(whole)
    acted = ("anger", "disgust", "fear", "happiness", "sadness")
    assert Counter(data.target) == {"neutral": 1087} | dict.fromkeys(acted, 1271)
    assert set(data.groups) == {str(actor) for actor in ACTORS}
    sexes = data.frame.groupby("speaker")["sex"].first().value_counts()
    assert sexes.to_dict() == {"male": 48, "female": 43}
    for emotion in data.target_names:
        line = next(line for line in data.DESCR.splitlines() if line.startswith(f"{emotion} "))
        assert int(line.split()[1]) == (data.target == emotion).sum()


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("AudioMP3/1002_dfa_fea_xx.MP3", "1001_IEO_HAP_LO.wav")
    data = load_cremad(folder)
    assert data.frame.iloc[:, 1:].to_dict("records") == [
        {
            "emotion": "happiness",
            "intended": "happiness",
            "speaker": "1001",
            "sex": "male",
            "sentence": "IEO",
            "text": "It's eleven o'clock.",
            "level": "low",
            "language": "en",
            "speaker_fold": 0,
        },
        {
            "emotion": "fear",
            "intended": "fear",
            "speaker": "1002",
            "sex": "female",
            "sentence": "DFA",
            "text": "Don't forget a jacket.",
            "level": "unspecified",
            "language": "en",
            "speaker_fold": 3,
        },
    ]


def test_pattern_matches_only_names_of_the_corpus():
    sentences = (*OTHERS, "IEO", "XXX")
    levels = ("LO", "MD", "HI", "XX", "L", "")
    parts = product(("1000", "1001", "1092"), sentences, (*ACTED, "NEU", "XXX"), levels)
    taken = {name for name in map("_".join, parts) if _LAYOUT.fields(name)}
    assert taken == {f"1001_{name}" for name in GRID}
    assert all(_LAYOUT.fields(name) for name in NAMES)


@pytest.mark.slow
def test_surplus_recordings_are_reported(one_warning, full):
    (full / f"{min(ABSENT)}.wav").touch()
    _, message = one_warning(load_cremad, full)
    assert "7443 of 7442 recordings; emotion anger has 1272 of 1271." in message


@pytest.mark.parametrize(("age", "expected"), [("NA", None), ("51.0", 51.0)])
def test_cells_that_are_not_integers(few, age, expected):
    write(few, "VideoDemographics.csv", DEMOGRAPHICS.replace("1001,51,", f"1001,{age},"))
    with pytest.warns(UserWarning, match="of 7442"):
        ages = load_cremad(few).frame["age"]
    assert ages.isna()[0] if expected is None else ages[0] == expected


@pytest.mark.parametrize(("vote", "spelt"), [("n", "neutral"), ("A:X", ""), ("D: A", "")])
def test_votes_in_other_spellings(few, vote, spelt):
    write(
        few,
        "summaryTable.csv",
        SUMMARY.replace('"1001_IEO_NEU_XX","N"', f'"1001_IEO_NEU_XX","{vote}"'),
    )
    with pytest.warns(UserWarning, match="of 7442"):
        frame = load_cremad(few).frame.set_index("sentence")
    neutral = frame[frame["intended"] == "neutral"]
    assert neutral["voice_vote"].iloc[0] == spelt


@pytest.mark.slow
def test_the_misnamed_recording_is_one(one_warning, full):
    (full / "AudioWAV" / "1040_ITH_SAD_XX.wav").touch()
    (full / "AudioMP3").mkdir()
    (full / "AudioMP3" / "1001_IEO_NEU_XX.mp3").touch()
    data, message = one_warning(load_cremad, full)
    assert "2 recordings occur more than once, such as AudioWAV/1001_IEO_NEU_XX.wav" in message
    assert "used: that in AudioWAV/, then" in message
    assert len(data.recordings) == 7442


@pytest.mark.slow
def test_missing_recordings_are_counted_by_emotion(full):
    for name in ("1091_TIE_ANG_XX", "1091_TIE_NEU_XX"):
        (full / "AudioWAV" / f"{name}.wav").unlink()
    expected = (
        r"7440 of 7442 recordings; emotion anger has 1270 of 1271, neutral has 1086 of 1087\."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(UserWarning, match=expected):
            load_cremad(full)


@pytest.mark.slow
def test_folds_have_disjoint_actors_and_balanced_sexes(whole):
    data = load_cremad(whole)
    assert data.speaker_folds.dtype.kind == "i"
    assert data.frame["speaker_fold"].tolist() == data.speaker_folds.tolist()
    splits = list(PredefinedSplit(data.speaker_folds).split())
    assert len(splits) == 5
    for train, test in splits:
        assert not set(data.groups[train]) & set(data.groups[test])
        sexes = data.frame.iloc[test].groupby("speaker")["sex"].first().value_counts()
        assert sexes["male"] in (9, 10)
        assert sexes["female"] in (8, 9)
        assert sexes.sum() in (18, 19)
    # The same for any part of the corpus.
    part = load_cremad(whole, emotions=["fear"])
    np.testing.assert_array_equal(part.speaker_folds, data.speaker_folds[data.target == "fear"])


def test_columns_of_missing_tables_are_absent(few):
    columns = list(load_cremad(few).frame)
    assert columns[-1] == "speaker_fold"
    message = r"needs processedResults/summaryTable\.csv or processedResults/tabulatedVotes\.csv"
    with pytest.raises(FileNotFoundError, match=message):
        load_cremad(few, labels="voice")


def test_demographics(few):
    write(few, "VideoDemographics.csv", DEMOGRAPHICS)
    frame = load_cremad(few).frame.set_index("speaker")
    assert frame.loc["1001", "age"].tolist() == [51.0] * 4
    assert frame.loc["1002", "race"].tolist() == ["Caucasian"] * 2
    assert frame.loc["1002", "ethnicity"].tolist() == ["Not Hispanic"] * 2
    # Actor 1040 is missing in this file.
    assert np.isnan(frame.loc["1040", "age"])
    assert frame.loc["1040", "race"] == ""


def names_of(data):
    return [path.rpartition("/")[2].removesuffix(".wav") for path in data.recordings]


@pytest.mark.parametrize(
    "place",
    ["", "processedResults/", "data/InfoAndStats/processedResults/", "../", "../processedResults/"],
)
def test_votes_are_found_below_and_next_to_the_folder(few, place):
    write(few, f"{place}summaryTable.csv", SUMMARY)
    with pytest.warns(UserWarning, match="skipped by labels='voice'"):
        data = load_cremad(few, labels="voice")
    assert names_of(data) == ["1001_IEO_HAP_LO", "1001_IEO_NEU_XX", "1040_ITH_SAD_X"]
    assert data.target.tolist() == ["neutral", "neutral", "sadness"]
    assert data.frame["intended"].tolist() == ["happiness", "neutral", "sadness"]
    assert data.frame["emotion"].tolist() == data.target.tolist()
    assert not [column for column in data.frame if column.startswith("votes_")]


def test_ties_and_recordings_without_votes_are_counted(few):
    write(few, "processedResults/summaryTable.csv", SUMMARY)
    message = (
        r"4 of 7 recordings skipped by labels='voice': 3 have a tie "
        r"\(anger:disgust 2, disgust:fear:sadness 1\) and 1 no votes\."
    )
    with pytest.warns(UserWarning, match=message):
        load_cremad(few, labels="voice")
    # No recording of the intended emotions is skipped.
    data = load_cremad(few)
    assert dict(zip(names_of(data), data.frame["voice_vote"], strict=True)) == {
        "1001_IEO_ANG_LO": "anger:disgust",
        "1001_IEO_HAP_LO": "neutral",
        "1001_IEO_NEU_XX": "neutral",
        "1001_IEO_SAD_LO": "anger:disgust",
        "1002_IEO_SAD_LO": "disgust:fear:sadness",
        "1002_IEO_SAD_MD": "",
        "1040_ITH_SAD_X": "sadness",
    }


def test_tabulated_votes_are_those_for_the_voice(few):
    write(few, "processedResults/tabulatedVotes.csv", VOTES)
    frame = load_cremad(few).frame
    columns = [
        f"votes_{e}" for e in ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    ]
    assert frame[columns].to_numpy().tolist() == [
        [4, 4, 1, 0, 0, 0],
        [0, 0, 0, 3, 6, 0],
        [0, 0, 0, 1, 10, 0],
        *[[0] * 6] * 4,
    ]
    # Without summaryTable.csv, this table also gives the vote, from the rows for the voice.
    with pytest.warns(UserWarning, match="5 of 7 recordings skipped"):
        data = load_cremad(few, labels="voice")
    assert names_of(data) == ["1001_IEO_HAP_LO", "1001_IEO_NEU_XX"]
    assert data.target.tolist() == ["neutral", "neutral"]


def test_the_rows_of_the_voice_are_those_of_the_summary():
    """In lines of the corpus, vote and level of the voice are those of rows 100001 and 100002."""
    voice = [line.split(",") for line in VOTE_ROWS[:2]]
    neutral = VOTE_COLUMNS.index("meanNeutralResp")
    summary = [line.replace('"', "").split(",") for line in SUMMARY.splitlines()[1:3]]
    for tabulated, (_, name, vote, level, *_) in zip(voice, summary, strict=True):
        assert tabulated[7].strip('"') == name
        assert tabulated[10].strip('"') == vote
        assert round(float(tabulated[neutral]), 2) == float(level)


def test_emotions_are_chosen_among_the_labels(few):
    write(few, "summaryTable.csv", SUMMARY)
    with pytest.warns(UserWarning, match="skipped by"):
        data = load_cremad(few, labels="voice", emotions={"neutral": "calm"})
    assert data.target.tolist() == ["calm", "calm"]
    assert data.speaker_folds.tolist() == [0, 0]


def test_no_recordings_selected(grow):
    folder = grow("1001_IEO_ANG_LO.wav", "1001_TIE_ANG_XX.wav")
    write(folder, "summaryTable.csv", SUMMARY)
    with pytest.raises(ValueError, match="none of the 2 recordings: 1 have a tie and 1 no votes"):
        load_cremad(folder, labels="voice")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\n", "has no rows; its columns are 'version"),
        ("", r"has no rows; its columns are \(none\)"),
        ('"ActorID","Sex"\n1001,"Male"\n', "has the columns 'ActorID', 'Sex'.*'Age'"),
        (DEMOGRAPHICS + "1003,21\n", "has 5 columns, but 1 lines have more or fewer cells"),
        ('"ActorID,\n1', "is not a CSV file in UTF-8"),
    ],
)
def test_invalid_table(few, text, message):
    write(few, "VideoDemographics.csv", text)
    with pytest.raises(ValueError, match=rf"VideoDemographics\.csv {message}.*remove it"):
        load_cremad(few)


def test_labels_are_validated():
    with pytest.raises(ValueError, match="'labels' parameter of load_cremad"):
        load_cremad("nowhere", labels="face")


def test_votes_as_soft_labels(few):
    write(few, "processedResults/tabulatedVotes.csv", VOTES)
    emotions = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]
    with pytest.warns(UserWarning, match="4 of 7 recordings have no votes for anger, .* skipped"):
        data = load_cremad(few, target="votes", as_frame=True)
    assert data.target_names == list(data.target) == emotions
    by_name = dict(zip(names_of(data), data.target.to_numpy().tolist(), strict=True))
    assert by_name == {
        "1001_IEO_ANG_LO": pytest.approx([4 / 9, 4 / 9, 1 / 9, 0, 0, 0]),
        "1001_IEO_HAP_LO": pytest.approx([0, 0, 0, 3 / 9, 6 / 9, 0]),
        "1001_IEO_NEU_XX": pytest.approx([0, 0, 0, 1 / 11, 10 / 11, 0]),
    }
    assert data.frame["emotion"].tolist() == ["anger", "happiness", "neutral"]
    assert data.frame["votes_anger"].tolist() == [4, 0, 0]
    assert len(data.speaker_folds) == len(data.groups) == 3


def test_votes_for_some_emotions(few):
    write(few, "tabulatedVotes.csv", VOTES)
    merged = {"happiness": "calm", "fear": "calm", "anger": "anger"}
    with pytest.warns(UserWarning, match="4 of 7 recordings have no votes for anger, calm and"):
        _, y = load_cremad(few, target="votes", emotions=merged, return_X_y=True)
    np.testing.assert_allclose(y, [[4 / 5, 1 / 5], [0, 1], [0, 1]])
    with pytest.warns(UserWarning, match="5 of 7 recordings have no votes for happiness, neutral"):
        data = load_cremad(few, target="votes", emotions=["neutral", "happiness"])
    assert data.target_names == ["happiness", "neutral"]
    np.testing.assert_allclose(data.target, [[1 / 3, 2 / 3], [1 / 11, 10 / 11]])
    with pytest.raises(ValueError, match="no recording has votes for sadness"):
        load_cremad(few, target="votes", emotions=["sadness"])
    with pytest.raises(ValueError, match="names 'joy', which these recordings do not have"):
        load_cremad(few, target="votes", emotions=["joy"])


def test_votes_of_recordings_with_a_majority(few):
    write(few, "tabulatedVotes.csv", VOTES)
    with pytest.warns(UserWarning, match="skipped by labels='voice'"):
        data = load_cremad(few, labels="voice", target="votes")
    assert names_of(data) == ["1001_IEO_HAP_LO", "1001_IEO_NEU_XX"]
    assert data.frame["emotion"].tolist() == ["neutral", "neutral"]


def test_soft_labels_need_the_table_of_votes(few):
    write(few, "summaryTable.csv", SUMMARY)
    message = r"target='votes' needs processedResults/tabulatedVotes\.csv .* target='emotion'"
    with pytest.raises(FileNotFoundError, match=message):
        load_cremad(few, target="votes")
