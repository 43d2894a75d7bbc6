"""Read files as far as they go, whatever their headers say, and segments of files."""

import io
import os
import socket
import struct
import tracemalloc
import unicodedata
import warnings

import numpy as np
import pytest
import soundfile

from sklearn_ser import LogMelSpectrogram, RecordingError
from sklearn_ser.audio import SegmentOfFile, _file, find_problems, load_waveform
from sklearn_ser.audio._file import read_file
from sklearn_ser.audio._problems import UnusableRecording, collect_notes

RATE = 16000
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("WAV", "IMA_ADPCM"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def encode(samples, form="WAV", subtype="PCM_16", rate=RATE, **settings):
    content = io.BytesIO()
    n_channels = 1 if samples.ndim == 1 else samples.shape[1]
    settings |= {"format": form, "subtype": subtype}
    with soundfile.SoundFile(content, "w", rate, n_channels, **settings) as file:
        file.write(samples)
    return bytearray(content.getvalue())


def decode(content):
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def load(content, **settings):
    """Return the waveform of a file, and the notes about it."""
    with collect_notes() as notes:
        return load_waveform(bytes(content), sampling_rate=RATE, **settings), notes


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
@pytest.mark.parametrize("is_long", [False, True])
def test_a_truncated_file_is_read_as_far_as_it_goes(noise, form, subtype, is_long, monkeypatch):
    if is_long:
        monkeypatch.setattr(_file, "_BLOCK", 5000)
    content = encode(noise, form, subtype)
    whole = decode(content)
    waveform, notes = load(content)
    np.testing.assert_allclose(waveform, whole, atol=1e-6)
    assert notes == []
    waveform, (note,) = load(content[: len(content) // 2])
    assert 0.25 * len(whole) < len(waveform) < 0.51 * len(whole)
    np.testing.assert_allclose(waveform, whole[: len(waveform)], atol=1e-6)
    assert "truncated" in note
    if form != "OGG":  # its header has no length
        missing = (len(whole) - len(waveform)) / RATE
        assert f"promises {len(whole) / RATE:.6g} s" in note
        assert abs(float(note.split("last ")[1].split(" s")[0]) - missing) < 0.01
    with pytest.raises(UnusableRecording):
        load(content[:20])


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_no_truncation_passes_without_a_word(noise, form, subtype):
    content = encode(noise[:4800], form, subtype)
    whole = load(content)[0]
    for length in range(len(content) // 3, len(content), 61):
        try:
            waveform, notes = load(content[:length])
        except UnusableRecording:
            continue
        assert len(waveform) <= len(whole)
        assert notes or len(waveform) == len(whole)


def test_one_warning_lists_the_truncated_files(tmp_path, noise):
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    content = encode(noise)
    for path, part in zip(paths, (1, 2, 3), strict=True):
        (tmp_path / path).write_bytes(content[: len(content) // part])
    with pytest.warns(UserWarning, match="truncated") as caught:
        rows = LogMelSpectrogram(pooling="mean", on_error="nan").fit_transform(paths)
    assert np.isfinite(rows).all()
    assert len(caught) == 1
    message = str(caught[0].message)
    assert f"recording 1: '{paths[1]}': it is truncated" in message
    assert "recording 2" in message
    assert "recording 0" not in message
    assert "promises 3 s, and the last 1.5 s are missing" in message
    assert caught[0].filename == __file__


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_wav_written_to_a_pipe(noise, size):
    content = encode(noise)
    whole = decode(content)
    for position in (4, content.index(b"data") + 4):
        content[position : position + 4] = struct.pack("<I", size)
    waveform, notes = load(content)
    np.testing.assert_array_equal(waveform, whole)
    assert notes == []


def set_flac_length(content, n_samples):
    # STREAMINFO: the 36 bits of the number of samples end 8 + 18 bytes after the marker "fLaC".
    content[21] = (content[21] & 0xF0) | (n_samples >> 32)
    content[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")


@pytest.mark.parametrize("n_samples", [0, 100_000, 2**36 - 1], ids=["pipe", "more", "impossible"])
def test_the_length_of_a_flac_file_is_not_believed(noise, n_samples):
    content = encode(noise, "FLAC")
    whole = decode(content)
    set_flac_length(content, n_samples)
    waveform, notes = load(content)
    np.testing.assert_array_equal(waveform, whole)
    assert len(notes) == (n_samples > 0)


def fade(seconds=20, rate=44100):
    """Return noise that is loud at first, so that its start needs more bits."""
    noise = np.random.default_rng(0).normal(0, 0.1, seconds * rate)
    noise[len(noise) // 10 :] *= 1e-3
    return noise


def encode_vbr(samples, rate=44100):
    settings = {"bitrate_mode": "VARIABLE", "compression_level": 0.3}
    return encode(samples, "MP3", "MPEG_LAYER_III", rate, **settings)


@pytest.mark.parametrize("n_frames", [1, 10, 2**24, 0xFF0000FF])
def test_the_length_of_an_mp3_file_is_not_believed(n_frames):
    content = encode_vbr(fade(3))
    whole = decode(content)
    position = content.index(b"Xing") + 8
    content[position : position + 4] = struct.pack(">I", n_frames)
    tracemalloc.start()
    waveform, notes = load(content, target_rate=44100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A frame more at the end, which is padding.
    assert 0 <= len(waveform) - len(whole) <= 1152
    np.testing.assert_allclose(waveform[: len(whole)], whole, atol=1e-6)
    assert len(notes) == (n_frames > 10)
    assert peak < 20e6


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", [44100, 22050, 8000])
def test_mp3_without_a_header_is_read_to_its_end(rate, n_channels):
    samples = np.repeat(fade(20 if rate > 30000 else 40, rate)[:, None], n_channels, 1)
    content = encode_vbr(samples, rate)
    whole = decode(content).reshape(-1, n_channels)[:, 0]
    first = content.index(content[:2], 4)
    content = content[first:]
    assert len(decode(content)) < 0.7 * len(whole)  # libsndfile's estimate
    waveform, notes = load(content, target_rate=rate)
    delay = 1105 - 529  # that of the encoder, less that of the decoder
    assert notes == []
    assert 0 <= len(waveform) - delay - len(whole) <= 2 * 1152
    np.testing.assert_allclose(waveform[delay:][: len(whole)], whole, atol=1e-5)


def test_half_of_a_long_mp3_is_not_repeated(noise, monkeypatch):
    monkeypatch.setattr(_file, "_BLOCK", 3000)
    content = encode(noise, "MP3", "MPEG_LAYER_III")
    whole = decode(content)
    waveform, _ = load(content[: len(content) // 2])
    assert len(waveform) < 0.5 * len(whole)
    np.testing.assert_allclose(waveform, whole[: len(waveform)], atol=1e-6)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_a_segment_is_a_slice_of_the_file(tmp_path, noise, form, subtype):
    stereo = np.stack([noise, noise[::-1]], axis=1)
    path = tmp_path / "noise"
    path.write_bytes(encode(stereo, form, subtype))
    whole, rate = read_file(path)
    assert (len(whole) >= 3 * RATE, rate) == (True, RATE)
    for start, end in [
        (0.0, 0.5),
        (0.70003, 1.9),
        (2.5, 3.0),
        (2.0, None),
        (0.0, len(whole) / rate),
    ]:
        segment, _ = read_file(path, start, end)
        stop = None if end is None else round(end * rate)
        np.testing.assert_allclose(segment, whole[round(start * rate) : stop], atol=1e-6)
    length = len(whole) / rate
    segment, _ = read_file(path, 1.0, length + 1 / rate)
    np.testing.assert_allclose(segment, whole[rate:], atol=1e-6)
    for start, end in [(1.0, length + 2 / rate), (length, None), (length + 1, length + 2)]:
        with pytest.raises(UnusableRecording, match=f"{start} s to .*{length:.6g} s decode"):
            read_file(path, start, end)
    for start, end in [(2, 1), (-1, 2), (1, 1), (float("nan"), 2)]:
        with pytest.raises(UnusableRecording, match="not a stretch of time"):
            read_file(path, start, end)


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
def test_a_segment_behind_the_cut_names_both_times(tmp_path, noise, form, subtype):
    path = tmp_path / "noise"
    content = encode(noise, form, subtype)
    path.write_bytes(content[: len(content) // 2])
    with collect_notes():
        length = len(read_file(path)[0]) / RATE
    for start, end in [(0.1, length + 0.1), (2.0, 2.5), (2.0, None), (4.0, 5.0)]:
        with pytest.raises(UnusableRecording, match=rf"{start} s to .*, of which {length:.6g} s"):
            read_file(path, start, end)


def test_a_segment_before_the_cut_is_whole(tmp_path, noise):
    path = tmp_path / "noise.wav"
    content = encode(noise)
    path.write_bytes(content[: len(content) // 2])
    with collect_notes() as notes:
        segment, _ = read_file(path, 0.5, 1.0)
    np.testing.assert_array_equal(segment, decode(content)[RATE // 2 : RATE])
    assert notes == []
    with pytest.raises(UnusableRecording, match=r"from 0\.5 s to 2\.0 s .* 1\.49931 s decode"):
        read_file(path, 0.5, 2.0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_regular_file_is_not_opened(tmp_path, noise, monkeypatch):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)
        server.bind("s.wav")
        special = {"pipe.wav": "a named pipe", "link.wav": "a named pipe", "s.wav": "a socket"}
        special["/dev/zero"] = "a device"
        for path, kind in special.items():
            with pytest.raises(UnusableRecording, match=f"it is {kind}, and not a regular file"):
                load_waveform(path, sampling_rate=RATE)
        assert len(find_problems([*special])) == len(special)
        with (
            open("/dev/zero", "rb") as device,
            pytest.raises(UnusableRecording, match="open pipe or device"),
        ):
            load_waveform(device, sampling_rate=RATE)
        rows = [SegmentOfFile("pipe.wav"), noise]
        with pytest.raises(RecordingError, match=r"Recording 0: 'pipe\.wav': it is a named pipe"):
            LogMelSpectrogram().fit(rows)


def test_files_in_memory(tmp_path, noise):
    content = bytes(encode(noise, "FLAC"))
    (tmp_path / "noise.flac").write_bytes(content)
    expected = decode(content)
    with open(tmp_path / "noise.flac", "rb") as file:
        file.seek(10)
        forms = [
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            file,
            {"bytes": content, "path": "elsewhere.flac"},
            {"bytes": None, "path": str(tmp_path / "noise.flac")},
            {"path": tmp_path / "noise.flac"},
        ]
        for form in forms * 2:
            np.testing.assert_array_equal(load_waveform(form, sampling_rate=RATE), expected)
        assert file.tell() == 10
        rows = LogMelSpectrogram(pooling="mean", n_jobs=2).fit_transform(forms * 3)
        np.testing.assert_array_equal(rows, np.tile(rows[0], (len(rows), 1)))
        with pytest.raises(ValueError, match=r"single recording .*\[X\]"):
            LogMelSpectrogram().fit(file)
    with (
        open(tmp_path / "noise.flac", encoding="latin-1") as text,
        pytest.raises(UnusableRecording, match="mode 'rb'"),
    ):
        load_waveform(text, sampling_rate=RATE)
    for empty in (b"", io.BytesIO(), {"bytes": b""}):
        with pytest.raises(UnusableRecording, match="empty"):
            load_waveform(empty, sampling_rate=RATE)
    assert find_problems([content, {"path": "gone.wav"}]) == {
        1: "'gone.wav': there is no such file"
    }


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode")
def test_names_that_are_not_utf_8(tmp_path, noise):
    name = os.fsencode(tmp_path) + b"/m\xfcde.wav"
    with open(name, "wb") as file:
        file.write(encode(noise))
    path = os.fsdecode(name)
    np.testing.assert_array_equal(load_waveform(path, sampling_rate=RATE), decode(encode(noise)))
    rows = LogMelSpectrogram(pooling="mean").fit_transform([path])
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one(tmp_path, noise, stored):
    other = {"NFC": "NFD", "NFD": "NFC"}[stored]
    folder = tmp_path / unicodedata.normalize(stored, "Gefühl")
    folder.mkdir()
    soundfile.write(folder / "müde.wav", noise, RATE)
    (folder / "müde.wav").rename(folder / unicodedata.normalize(stored, "müde.wav"))
    path = f"{tmp_path}/{unicodedata.normalize(other, 'Gefühl/müde.wav')}"
    assert find_problems([path, path.replace("/", "\\")]) == {}
    expected = load_waveform(noise.astype(np.float32), sampling_rate=RATE)
    for name in (path, path.replace("/müde", "\\müde"), path.replace("/", "\\")):
        loaded = load_waveform(name, sampling_rate=RATE)
        np.testing.assert_allclose(loaded, expected, atol=1e-4)


def test_channels_that_cancel(tmp_path, noise):
    opposite = np.stack([noise, -noise], axis=1).astype(np.float32)
    for recording in ((opposite, RATE), bytes(encode(opposite, subtype="FLOAT"))):
        with pytest.warns(UserWarning, match=r"recording 1: .*cancel.*channel="):
            LogMelSpectrogram(pooling="mean").fit_transform([noise, recording])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            LogMelSpectrogram(pooling="mean", channel=0).fit_transform([recording])
            LogMelSpectrogram(pooling="mean").fit_transform([(np.zeros((900, 2)), RATE)])


@pytest.mark.parametrize(
    ("bits", "divisor"), [(8, 32768), (16, 32768), (24, 8388608), (32, 2147483648)]
)
@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_pcm_that_was_converted_without_division(noise, bits, divisor, on_error):
    pcm = np.round(noise * (2**bits - 2)).astype(np.float64)
    front_end = LogMelSpectrogram(pooling="mean", on_error=on_error)
    peak = f"{np.float32(abs(pcm).max()):.6g}".replace("+", r"\+")
    with pytest.warns(UserWarning, match=f"recording 1: .*reach {peak}, .*by {divisor}") as caught:
        rows = front_end.fit_transform([noise, pcm, noise * 10])
    assert len(caught) == 1
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_all_unreadable_files_are_listed(tmp_path, noise, on_error):
    content = bytes(encode(noise))
    paths = [tmp_path / f"{number}.wav" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(content if number % 3 else b"no audio at all")
    front_end = LogMelSpectrogram(on_error=on_error)
    if on_error == "nan":
        with pytest.warns(UserWarning, match="7 recordings can't be used"):
            front_end.fit_transform(paths)
        return
    with pytest.raises(RecordingError, match="7 recordings can't be used") as caught:
        front_end.fit_transform(paths)
    assert list(caught.value.problems) == [0, 3, 6, 9, 12, 15, 18]
    assert "libsndfile can't read" in caught.value.problems[18]
