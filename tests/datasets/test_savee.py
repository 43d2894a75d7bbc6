"""SAVEE: speakers in names of folders or files."""

import warnings
from collections import Counter
from itertools import product

import pytest

from sklearn_ser.datasets import load_savee
from sklearn_ser.datasets._savee import _LAYOUT

SPEAKERS = ("DC", "JE", "JK", "KL")
UTTERANCES = [
    f"{emotion}{n:02d}" for emotion in ("a", "d", "f", "h", "sa", "su") for n in range(1, 16)
]
UTTERANCES += [f"n{n:02d}" for n in range(1, 31)]


@pytest.fixture(params=["AudioData/{}/{}.wav", "ALL/{}_{}.wav", "{}/{}.flac"])
def full(request, grow):
    return grow(*(request.param.format(*parts) for parts in product(SPEAKERS, UTTERANCES)))


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_complete_corpus_in_every_layout(full):
    data = load_savee(full)
    assert Counter(data.groups) == dict.fromkeys(SPEAKERS, 120)
    others = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert Counter(data.target) == {"neutral": 120} | dict.fromkeys(others, 60)
    for emotion in data.target_names:
        line = next(line for line in data.DESCR.splitlines() if line.startswith(f"{emotion} "))
        of_emotion = data.groups[data.target == emotion]
        said = [int(cell) for cell in line.split()[1:]]
        assert said == [*((of_emotion == speaker).sum() for speaker in SPEAKERS), len(of_emotion)]


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("je/SA01.WAV", "DC_a15.ogg", "KL/KL_n30.wav")
    with pytest.warns(UserWarning, match="3 of 480"):
        data = load_savee(folder)
    names = ("DC_a15.ogg", "je/SA01.WAV", "KL/KL_n30.wav")
    assert data.recordings.tolist() == [str(folder / name) for name in names]
    assert data.target.tolist() == ["anger", "sadness", "neutral"]
    assert data.groups.tolist() == ["DC", "JE", "KL"]
    assert data.frame.iloc[1, 1:].to_dict() == {
        "emotion": "sadness",
        "speaker": "JE",
        "sex": "male",
        "sentence": "sa01",
        "language": "en",
    }


def test_pattern_matches_only_names_of_the_corpus():
    emotions = ("a", "d", "f", "h", "n", "s", "sa", "su", "xa", "nn")
    numbers = ("0", "1", *(f"{n:02d}" for n in range(40)), "001")
    names = [f"{who}_{emotion}{n}" for who, emotion, n in product(("DC", "XX"), emotions, numbers)]
    assert {name for name in names if _LAYOUT.fields(name)} == {f"DC_{what}" for what in UTTERANCES}
    assert _LAYOUT.fields("a01") is None


def test_the_folder_of_one_speaker(one_warning, grow):
    folder = grow(*(f"AudioData/JK/{what}.wav" for what in UTTERANCES))
    data, message = one_warning(load_savee, folder / "AudioData" / "JK")
    assert set(data.groups) == {"JK"}
    assert "120 of 480 recordings; speaker DC has 0 of 120, JE has 0 of 120, KL has 0" in message


def test_missing_recordings_are_named(one_warning, grow):
    kept = [f"{who}_{what}.wav" for who, what in product(SPEAKERS, UTTERANCES)]
    kept = [name for name in kept if name not in ("DC_a01.wav", "KL_su15.wav", "KL_n30.wav")]
    _, message = one_warning(load_savee, grow(*kept))
    assert "477 of 480 recordings; speaker DC has 119 of 120, KL has 118 of 120." in message
    assert "Missing: DC_a01, KL_n30, KL_su15." in message


def test_both_spellings_are_copies(one_warning, grow):
    names = [
        name.format(*p)
        for p in product(SPEAKERS, UTTERANCES)
        for name in ("{}/{}.wav", "{}_{}.wav")
    ]
    folder = grow(*names)
    for name in names:
        (folder / name).write_text("equal")
    data, message = one_warning(load_savee, folder)
    assert "480 recordings occur more than once, such as DC_a01.wav and DC/a01.wav." in message
    assert len(data.recordings) == 480


def test_films_of_the_recordings_are_not_used(grow):
    pairs = list(product(SPEAKERS, UTTERANCES))
    films = [f"AudioVisualClip/{speaker}/{utterance}.avi" for speaker, utterance in pairs]
    folder = grow(*films, *(f"AudioData/{speaker}/{utterance}.wav" for speaker, utterance in pairs))
    with warnings.catch_warnings(action="error"):
        data = load_savee(folder)
    assert len(data.recordings) == 480
    assert all(recording.endswith(".wav") for recording in data.recordings)


def test_wrong_folder_says_where_to_get_it(tmp_path, grow):
    with pytest.raises(FileNotFoundError, match=r"480 recordings.*Surrey"):
        load_savee(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has 1 audio files, such as XX/a01\.wav, and none"):
        load_savee(grow("XX/a01.wav"))
