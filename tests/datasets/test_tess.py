"""TESS: two voices, a misnamed file, and a copy that contains everything twice."""

import warnings
from collections import Counter
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import pytest

from sklearn_ser.datasets import load_tess
from sklearn_ser.datasets._tess import _LAYOUT

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
# 200 words of one syllable, "bite" among them; not those of the corpus.
WORDS = ["bite", *("".join(letters) for letters in product(ascii_lowercase, repeat=2))][:200]
NAMES = [
    f"{who}_{emotion}/{'OA' if (who, word, emotion) == ('OAF', 'bite', 'neutral') else who}"
    f"_{word}_{emotion}.wav"
    for who, emotion, word in product(("OAF", "YAF"), EMOTIONS, WORDS)
]


@pytest.fixture
def full(grow):
    return grow(*NAMES)


@pytest.fixture(autouse=True)
def strict():
    """Fail on unexpected warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.slow
def test_complete_corpus(full):
    assert (full / "OAF_neutral" / "OA_bite_neutral.wav").exists()
    data = load_tess(full)
    assert Counter(data.groups) == {"OAF": 1400, "YAF": 1400}
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert Counter(data.target) == dict.fromkeys(emotions, 400)
    assert "means training on one voice" in data.DESCR


def test_labels_are_parsed_from_file_names(grow):
    folder = grow("yaf_pleasant_surprised/YAF_MOB_PS.WAV", "OAF_neutral/OA_bite_neutral.wav")
    with pytest.warns(UserWarning, match="2 of 2800"):
        data = load_tess(folder)
    assert data.frame.iloc[:, 1:].to_dict("records") == [
        {
            "emotion": "neutral",
            "speaker": "OAF",
            "sex": "female",
            "age": 64,
            "word": "bite",
            "text": "Say the word bite.",
            "language": "en",
        },
        {
            "emotion": "surprise",
            "speaker": "YAF",
            "sex": "female",
            "age": 26,
            "word": "mob",
            "text": "Say the word mob.",
            "language": "en",
        },
    ]


@pytest.mark.slow
def test_only_the_one_misnamed_file_is_taken(one_warning, full):
    wrong = (
        "OA_bite_sad",
        "OA_back_neutral",
        "YA_bite_neutral",
        "OAF_bite_calm",
        "XOA_bite_neutral",
    )
    for name in wrong:
        assert _LAYOUT.fields(name) is None
        (full / f"{name}.wav").touch()
    data, message = one_warning(load_tess, full)
    assert "5 audio files skipped" in message
    assert len(data.recordings) == 2800


@pytest.mark.slow
def test_a_corrected_name_is_the_same_recording(one_warning, full):
    (full / "OAF_neutral" / "OAF_bite_neutral.wav").touch()
    data, message = one_warning(load_tess, full)
    assert "1 recordings occur more than once, such as OAF_neutral/OAF_bite_neutral.wav" in message
    assert len(data.recordings) == 2800


@pytest.mark.slow
def test_copy_that_holds_the_corpus_twice(one_warning, grow):
    folder = grow(*NAMES, *(f"TESS Toronto emotional speech set data/{name}" for name in NAMES))
    data, message = one_warning(load_tess, folder)
    assert "2800 recordings occur more than once" in message
    assert len(data.recordings) == 2800
    assert all(Path(recording).parent.parent == folder for recording in data.recordings)


@pytest.mark.slow
def test_missing_recordings_are_counted_by_talker(one_warning, full):
    (full / "YAF_ps" / "YAF_bite_ps.wav").unlink()
    _, message = one_warning(load_tess, full)
    assert "2799 of 2800 recordings; speaker YAF has 1399 of 1400." in message


def test_wrong_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"2800 recordings.*Borealis"):
        load_tess(tmp_path / "nowhere")
