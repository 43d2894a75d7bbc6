"""IEMOCAP: label files and their irregularities, speakers and sessions."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import LeaveOneGroupOut

from sklearn_ser.datasets import load_iemocap
from sklearn_ser.datasets._iemocap import _EMOTIONS, _FOUR_CLASSES, _N_TURNS

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
FIRST = """\
[6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.0000, 3.0000]
C-E2:	Neutral;	()
C-E3:	Neutral; Frustration;	()
C-F1:	Neutral;	(curious)
A-E3:	val 3; act 2; dom  2;	()
A-F1:	val 3; act 2; dom ;	()

"""
SECOND = """\
[10.0100 - 11.3925]	Ses01F_impro01_M001	xxx	[2.5000, 3.5000, 2.0000]
C-E2:	Anger;	()

"""
SCRIPT = "[7.1 - 9.2]\tSes05M_script01_1b_F002\texc\t[4.0, 4.5, 3.5]\n"


@pytest.fixture
def release(tmp_path):
    """Return a function that builds a release of the dialogs, their labels and transcripts."""

    def build(labels, transcripts=None, wavs=None, root="IEMOCAP_full_release"):
        for dialog, text in labels.items():
            dialogs = tmp_path / root / f"Session{dialog[4]}" / "dialog"
            for name, content in (("EmoEvaluation", text), ("transcriptions", transcripts)):
                content = content.get(dialog) if isinstance(content, dict) else content
                if content is not None:
                    (dialogs / name).mkdir(parents=True, exist_ok=True)
                    content = content if isinstance(content, bytes) else content.encode()
                    (dialogs / name / f"{dialog}.txt").write_bytes(content)
            turns = wavs or [word for word in str(text).split("\t") if word.startswith("Ses0")]
            for turn in turns:
                folder = dialogs.parent / "sentences" / "wav" / dialog
                folder.mkdir(parents=True, exist_ok=True)
                (folder / (turn if "." in turn else f"{turn}.wav")).touch()
        return tmp_path / root

    return build


TEXTS = {
    "Ses01F_impro01": "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
    "F: [LAUGHTER]\nSes01F_impro01_M001 [010.0100-011.3925]: Yeah: what?",
    "Ses05M_script01_1b": "Ses05M_script01_1b_F002 [007.1000-009.2000]: Hi.\n",
}
LABELS = {"Ses01F_impro01": HEADER + SECOND + FIRST, "Ses05M_script01_1b": HEADER + SCRIPT}


def load(folder, **options):
    """Load, with all warnings except that about missing recordings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="IEMOCAP: .* of 10039 recordings; session 1 has")
        return load_iemocap(folder, **options)


def told(folder, **options):
    """Return the loaded data and the warnings, except that about missing recordings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_iemocap(folder, **options)
    assert {warning.filename for warning in caught} == {__file__}
    return data, [str(w.message) for w in caught if "of 10039" not in str(w.message)]


def test_labels_are_read_from_label_files(release):
    folder = release(LABELS, TEXTS)
    data = load(folder, emotions=["neutral", "excitement", "no agreement"])
    wav = folder / "Session1" / "sentences" / "wav" / "Ses01F_impro01" / "Ses01F_impro01_F000.wav"
    assert data.recordings[0] == str(wav)
    assert data.target.tolist() == ["neutral", "no agreement", "excitement"]
    assert data.groups.tolist() == ["Ses01F", "Ses01M", "Ses05F"]
    assert data.sessions.tolist() == [1, 1, 5]
    assert data.text.tolist() == ["Excuse me.", "Yeah: what?", "Hi."]
    # The order in the file is valence, activation, dominance.
    assert data.valence.tolist() == [2.5, 2.5, 4.0]
    assert data.arousal.tolist() == [2.0, 3.5, 4.5]
    assert data.dominance.tolist() == [3.0, 2.0, 3.5]
    rows = data.frame.drop(columns="recording").to_dict("records")
    assert rows[0] == {
        "emotion": "neutral",
        "speaker": "Ses01F",
        "session": 1,
        "sex": "female",
        "dialog": "Ses01F_impro01",
        "style": "improvised",
        "start": 6.2901,
        "end": 8.2357,
        "text": "Excuse me.",
        "arousal": 2.0,
        "valence": 2.5,
        "dominance": 3.0,
        "votes": "E2=Neutral;E3=Neutral,Frustration;F1=Neutral",
        "n_votes": 3,
        "ratings": "E3=2,3,2;F1=2,3,nan",
        "language": "en",
    }
    assert rows[2] | {"sex": "female", "style": "scripted", "votes": "", "n_votes": 0} == rows[2]


def test_turns_without_agreement_are_no_emotion_but_have_dimensions(release):
    folder = release(LABELS, TEXTS)
    assert load(folder).target.tolist() == ["neutral", "excitement"]
    data = load(folder, target="dimensions")
    assert data.target.tolist() == [[2.0, 2.5, 3.0], [3.5, 2.5, 2.0], [4.5, 4.0, 3.5]]
    assert data.target_names == ["arousal", "valence", "dominance"]
    assert data.frame["emotion"].tolist() == ["neutral", "no agreement", "excitement"]
    X, y = load(folder, target="dimensions", return_X_y=True, as_frame=True, emotions=["neutral"])
    assert list(y) == ["arousal", "valence", "dominance"]
    assert X.index.equals(y.index)
    assert y.to_numpy().tolist() == [[2.0, 2.5, 3.0]]


@pytest.mark.parametrize(
    ("code", "four"),
    [("hap", "happiness"), ("exc", "happiness"), ("ang", "anger"), ("sad", "sadness")],
)
def test_four_classes(release, code, four):
    turns = [FIRST, SECOND.replace("xxx", "fru"), SECOND.replace("xxx", code).replace("M001", "M2")]
    folder = release({"Ses01F_impro01": "".join(turns)}, wavs=None)
    data, _ = told(folder, emotions="four")
    assert data.target.tolist() == ["neutral", four]


def test_every_code_has_an_emotion(release):
    lines = [
        f"[{n}.0 - {n}.9]\tSes02F_impro01_M{n:03d}\t{code}\t[1, 2, 3]\n"
        for n, code in enumerate(_EMOTIONS)
    ]
    data, _ = told(release({"Ses02F_impro01": "".join(lines)}))
    assert data.target.tolist() == list(_EMOTIONS.values())
    with pytest.raises(ValueError, match="'four'"):
        load_iemocap(".", emotions="five")


CLEAN = HEADER + FIRST + SECOND
VARIANTS = {
    "CRLF": CLEAN.replace("\n", "\r\n"),
    "no final newline": CLEAN.rstrip("\n"),
    "trailing blanks": CLEAN.replace("\n", " \t\n"),
    "blank lines everywhere": CLEAN.replace("\n", "\n\n \n"),
    "blanks for tabs": CLEAN.replace("\t", "    "),
    "no header": FIRST + SECOND,
    "byte order mark": b"\xef\xbb\xbf" + (FIRST + SECOND).encode(),
    "Windows-1252": CLEAN.replace("curious", "\x93caf\xe9\x94 \x85").encode("latin-1"),
    "UTF-8": CLEAN.replace("curious", "café …"),
    "tight brackets": CLEAN.replace(" - ", "-").replace(", ", ","),
    "upper case": CLEAN.replace("neu\t", "NEU\t").replace("xxx", "XXX"),
    "no comments": CLEAN.replace("()", "").replace("(curious)", ""),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_a_label_file(release, variant):
    turns = ["Ses01F_impro01_F000", "Ses01F_impro01_M001"]
    options = {"target": "dimensions"}
    usual = load(release({"Ses01F_impro01": CLEAN}, TEXTS, turns), **options).frame
    texts = {name: text.replace("\n", "\r\n") for name, text in TEXTS.items()}
    other = release({"Ses01F_impro01": VARIANTS[variant]}, texts, turns, root="other")
    frame = load(other, **options).frame
    columns = usual.columns.drop("recording")
    pd.testing.assert_frame_equal(frame[columns], usual[columns])


def test_other_lines_are_ignored(release):
    folder = release(LABELS, TEXTS)
    evaluation = folder / "Session1" / "dialog" / "EmoEvaluation"
    (evaluation / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
    for name in ("Attribute", "Categorical", "Self-evaluation"):
        (evaluation / name).mkdir()
        (evaluation / name / "Ses01F_impro01_e2.txt").write_text("Ses01F_impro01_F000 :act 2; ()")
    (folder / "Session1" / "dialog" / "wav").mkdir()
    (folder / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav").touch()
    hidden = folder / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    (hidden / "._Ses01F_impro01_F000.wav").touch()
    assert len(load(folder).recordings) == 2


def test_folder_above_and_upper_case_endings(release):
    turns = ["Ses01F_impro01_F000.WAV", "Ses01F_impro01_M001.flac"]
    folder = release({"Ses01F_impro01": CLEAN}, TEXTS, turns)
    assert load(folder.parent).recordings[0].endswith("F000.WAV")


def test_turns_without_wav_and_wavs_without_label(release):
    wavs = ["Ses01F_impro01_F000", "Ses01F_impro01_F098", "Ses01F_impro01_F099"]
    data, warned = told(release({"Ses01F_impro01": CLEAN}, TEXTS, wavs))
    assert data.target.tolist() == ["neutral"]
    assert "1 of 2 labelled recordings have no audio file" in warned[0]
    assert "ses01f_impro01_m001" in warned[0]
    assert "2 recordings have no label and are skipped" in warned[1]
    assert "Ses01F_impro01_F098.wav" in warned[1]
    assert len(warned) == 2


def test_missing_transcripts(release):
    folder = release(LABELS, {"Ses05M_script01_1b": TEXTS["Ses05M_script01_1b"]})
    data, (warned,) = told(folder)
    assert "2 of 3 recordings have no transcript" in warned
    assert data.text.tolist() == [None, "Hi."]
    assert data.frame["text"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("line", "votes"),
    [
        ("[6.3 - 8.2]\tSes01F_impro01_F007\tneu\t[2.5, 2.5]", "E2=Anger"),
        ("[6.3 - 8.2]\tSes01F_impro01\tneu\t[2.5, 2.5, 2.5]", "E2=Anger"),
        # Other lines, such as the second line of a comment, do not end the turn.
        ("nonsense", "E2=Anger;E4=Sadness"),
    ],
)
def test_invalid_lines_are_counted(release, line, votes):
    # Annotations after an invalid turn are ignored.
    text = CLEAN + line + "\nC-E4:\tSadness;\t()\n"
    turns = ["Ses01F_impro01_F000", "Ses01F_impro01_M001"]
    data, (warned,) = told(release({"Ses01F_impro01": text}, TEXTS, turns), target="dimensions")
    assert "1 lines of labels cannot be parsed" in warned
    assert f"Ses01F_impro01.txt line {CLEAN.count(chr(10)) + 1}" in warned
    assert data.frame["votes"].tolist()[1] == votes


def test_an_unknown_class_keeps_its_dimensions(release):
    text = CLEAN.replace("\tneu\t", "\tjoy\t")
    turns = ["Ses01F_impro01_F000", "Ses01F_impro01_M001"]
    folder = release({"Ses01F_impro01": text}, TEXTS, turns)
    data, (warned,) = told(folder, target="dimensions")
    assert "1 turns have an unknown class and are labelled 'no agreement': 'joy' (1)" in warned
    assert len(data.recordings) == 2


def test_missing_rating(release):
    folder = release({"Ses01F_impro01": CLEAN.replace("2.5000, 2.0000", "NaN, 2.0000")}, TEXTS)
    data, (warned,) = told(folder)
    assert "1 of 2 recordings have no rating of arousal, valence or dominance and have" in warned
    assert np.isnan(data.valence).tolist() == [True]
    data, (warned,) = told(folder, target="dimensions")
    assert warned.endswith("and are skipped.")
    assert data.target.tolist() == [[3.5, 2.5, 2.0]]
    assert data.text.tolist() == ["Yeah: what?"]
    only = release({"Ses01F_impro01": FIRST.replace("2.0000", "-")}, TEXTS, root="only")
    with pytest.raises(ValueError, match="no recording has arousal"):
        told(only, target="dimensions")


def test_two_copies_of_the_release(release):
    release(LABELS, TEXTS)
    folder = release(LABELS, TEXTS, root="copy").parent
    data, warned = told(folder)
    assert len(data.recordings) == 2
    assert "3 recordings occur more than once" in warned[0]
    assert "3 turns are labelled again" in warned[1]


def test_groups_are_speakers_and_sessions_keep_partners_together(release):
    labels = {
        f"Ses0{n}{actor}_impro01": "".join(
            f"[{start} - 9]\tSes0{n}{actor}_impro01_{sex}000\tneu\t[1, 2, 3]\n"
            for start, sex in enumerate("MF")
        )
        for n in range(1, 6)
        for actor in "FM"
    }
    data, _ = told(release(labels))
    assert data.groups[:4].tolist() == ["Ses01M", "Ses01F", "Ses01M", "Ses01F"]
    assert len(set(data.groups)) == 10
    splits = list(LeaveOneGroupOut().split(data.recordings, groups=data.sessions))
    assert len(splits) == 5
    for train, test in splits:
        assert len(set(data.groups[test])) == 2
        assert not set(data.groups[train]) & set(data.groups[test])


VOTED = """\
[1.0 - 2.0]	Ses01F_impro01_F000	neu	[2.5, 2.0, 3.0]
C-E2:	Neutral;	()
C-E3:	Neutral; Frustration;	()
C-E4:	Excited; Happiness; Surprise;	()
C-F1:	Anger;	()
A-E3:	val 3; act 2; dom  2;	()

[3.0 - 4.0]	Ses01F_impro01_M001	xxx	[2.5, 3.5, 2.0]
C-E2:	Sadness; Other;	(relieved)
C-E3:	Puzzled;	()
C-M1:	Sadness;	()

[5.0 - 6.0]	Ses01F_impro01_M002	ang	[2.5, 3.5, 2.0]
C-M1:	Anger;	()
"""


def test_votes_as_soft_labels(release):
    data, warned = told(release({"Ses01F_impro01": VOTED}), target="votes", as_frame=True)
    assert "1 of 3 recordings have no votes for anger, disgust, excitement" in warned[-1]
    assert data.target_names == list(data.target) == sorted(_EMOTIONS.values())
    first, second = ({k: v for k, v in row.items() if v} for row in data.target.to_dict("records"))
    happy = {"excitement": 1 / 9, "happiness": 1 / 9, "surprise": 1 / 9}
    assert first == pytest.approx({"neutral": 1.5 / 3, "frustration": 0.5 / 3, **happy})
    # Words that are no category are other emotions.
    assert second == pytest.approx({"sadness": 1 / 4, "other": 3 / 4})
    assert data.frame["emotion"].tolist() == ["neutral", "no agreement"]
    assert data.sessions.tolist() == [1, 1]
    assert data.text.tolist() == [None, None]


def test_votes_for_four_classes(release):
    folder = release({"Ses01F_impro01": VOTED})
    data, _ = told(folder, target="votes", emotions="four")
    assert data.target_names == ["anger", "happiness", "neutral", "sadness"]
    np.testing.assert_allclose(data.target, [[0, 4 / 13, 9 / 13, 0], [0, 0, 0, 1]])
    with pytest.raises(ValueError, match="names 'no agreement', which these recordings do not"):
        told(folder, target="votes", emotions=["anger", "no agreement"])


def test_incomplete_corpus_is_reported(release):
    with pytest.warns(UserWarning, match=r"3 of 10039 recordings; session 1 has 2 of 1819, 2 has"):
        load_iemocap(release(LABELS, TEXTS))


def test_errors_without_recordings_or_labels(tmp_path, release):
    with pytest.raises(FileNotFoundError, match="IEMOCAP_full_release"):
        load_iemocap(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has 0 audio files and none is a recording of IEMOCAP"):
        load_iemocap(tmp_path)
    folder = release({"Ses01F_impro01": FIRST}, TEXTS)
    labels = folder / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    labels.write_text(SCRIPT)
    with pytest.raises(ValueError, match=r"none of the 1 labelled .* 1 audio files"):
        load(folder)
    labels.unlink()
    with pytest.raises(ValueError, match="no label files, which are dialog/EmoEvaluation"):
        load(folder)


def test_only_turns_without_agreement(release):
    with pytest.raises(ValueError, match=r"selects none of the 1 recordings.*'no agreement'"):
        load(release({"Ses01F_impro01": SECOND}, TEXTS))


def test_description_adds_up(release):
    text = load(release(LABELS, TEXTS)).DESCR
    rows = [line.split() for line in text.splitlines()]
    turns = {row[1]: int(row[2]) for row in rows if len(row) > 2 and row[1] in _EMOTIONS}
    assert set(turns) == set(_EMOTIONS)
    assert sum(turns.values()) + 2507 == 10039 == sum(_N_TURNS.values())
    four = [row for row in rows if len(row) == 4 and row[1] in _EMOTIONS]
    assert sum(int(row[2]) for row in four) == 5531
    assert {row[0]: row[3] for row in four} == _FOUR_CLASSES
