"""Containers that libsndfile does not read, by FFmpeg, and the error without it."""

import io
import sys

import numpy as np
import pytest

from sklearn_ser import LogMelSpectrogram, RecordingError
from sklearn_ser.audio import load_waveform
from sklearn_ser.audio._file import read_file
from sklearn_ser.audio._problems import UnusableRecording, collect_notes

RATE = 16000
# File ending, container, codec, and samples by which the codec may be late.
FORMATS = [
    ("m4a", "ipod", "aac", 2048),
    ("mp4", "mp4", "aac", 2048),
    ("aac", "adts", "aac", 2048),
    ("m4a", "ipod", "alac", 0),
    ("webm", "webm", "libopus", 0),
    ("wma", "asf", "wmav2", 8192),
    ("amr", "amr", "libopencore_amrnb", 256),
]
HEADS = {
    "m4a": b"\0\0\0\x1cftypM4A ",
    "webm": b"\x1a\x45\xdf\xa3",
    "wma": b"\x30\x26\xb2\x75",
    "amr": b"#!AMR\n",
    "aac": b"\xff\xf1\x50",
}


@pytest.fixture
def tone():
    time = np.arange(2 * RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * 300 * time) * np.linspace(0.2, 1, len(time))).astype("f4")


def encode(av, samples, container, codec):
    content = io.BytesIO()
    rate = {"libopus": 48000, "libopencore_amrnb": 8000, "wmav2": 44100}.get(codec, RATE)
    with av.open(content, "w", format=container) as file:
        try:
            stream = file.add_stream(codec, rate=rate, layout="mono")
        except (ValueError, av.FFmpegError):
            pytest.skip(f"FFmpeg has no encoder {codec}")
        if codec == "wmav2":
            stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return content.getvalue()


@pytest.mark.parametrize(("ending", "container", "codec", "delay"), FORMATS)
def test_containers_are_read(tmp_path, tone, ending, container, codec, delay):
    av = pytest.importorskip("av")
    path = tmp_path / f"tone.{ending}"
    path.write_bytes(encode(av, tone, container, codec))
    with collect_notes() as notes:
        waveform = load_waveform(path, sampling_rate=RATE)
        np.testing.assert_array_equal(
            load_waveform(path.read_bytes(), sampling_rate=RATE), waveform
        )
    assert notes == []
    assert abs(len(waveform) - len(tone)) <= delay + 2048
    envelope = np.abs(tone).reshape(-1, 1600).max(axis=1)
    decoded = np.abs(waveform[: len(tone) // 1600 * 1600 - 3200]).reshape(-1, 1600).max(axis=1)
    np.testing.assert_allclose(decoded[3:-1], envelope[3 : len(decoded) - 1], atol=0.06)
    whole, rate = read_file(path)
    segment, _ = read_file(path, 0.5, 1.25)
    np.testing.assert_array_equal(segment, whole[rate // 2 : round(1.25 * rate)])


def test_a_truncated_container_is_read_as_far_as_it_goes(tone):
    av = pytest.importorskip("av")
    content = encode(av, tone, "webm", "libopus")
    whole = load_waveform(content, sampling_rate=RATE)
    with collect_notes() as notes:
        half = load_waveform(content[: len(content) // 2], sampling_rate=RATE)
    assert 0.3 * len(whole) < len(half) < 0.7 * len(whole)
    assert len(notes) <= 1
    with pytest.raises(UnusableRecording, match=r"FFmpeg can't read|empty"):
        load_waveform(content[:40], sampling_rate=RATE)
    # The index of an MP4 file is at its end.
    content = encode(av, tone, "ipod", "aac")
    with pytest.raises(UnusableRecording, match="FFmpeg can't read the file as audio"):
        load_waveform(content[: len(content) // 2], sampling_rate=RATE)


@pytest.mark.parametrize("ending", HEADS)
def test_without_ffmpeg_the_error_names_the_extra(tmp_path, tone, ending, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / f"tone.{ending}"
    path.write_bytes(HEADS[ending] + bytes(100))
    reason = rf"Recording 1: .*Reading .*\.{ending}.* files needs .*'\.\[av\]'"
    with pytest.raises(RecordingError, match=reason):
        LogMelSpectrogram(pooling="mean").fit_transform([tone, path])
    with pytest.warns(UserWarning, match=reason):
        rows = LogMelSpectrogram(pooling="mean", on_error="nan").fit_transform([tone, path])
    np.testing.assert_array_equal(np.isnan(rows).any(axis=1), [False, True])
