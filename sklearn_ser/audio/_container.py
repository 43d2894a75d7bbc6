"""Decode audio of containers that libsndfile does not read, by FFmpeg (PyAV, optional)."""

import numpy as np

from sklearn_ser._extras import import_extra

from ._problems import UnusableRecording

# Position and bytes that tell a container, and its usual name.
_MAGIC = (
    (4, b"ftyp", "MP4 (.m4a, .mp4)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska (.webm, .mkv)"),
    (0, b"\x30\x26\xb2\x75", "Windows Media (.wma)"),
    (0, b"#!AMR", "AMR (.amr)"),
    (0, b"\xff\xf1", "AAC (.aac)"),
    (0, b"\xff\xf9", "AAC (.aac)"),
)
# More is no audio.
_MAX_CHANNELS = 1024


def name_container(head):
    """Return the name of a container format that FFmpeg reads and libsndfile does not, or None.

    Parameters
    ----------
    head : bytes
        The first 16 bytes of a file.

    Returns
    -------
    name : str or None
    """
    return next((name for at, magic, name in _MAGIC if head[at:].startswith(magic)), None)


class ContainerFile:
    """The first audio stream of a container, with the part of `soundfile.SoundFile` that is used.

    Parameters
    ----------
    file : binary file object
        The file.
    name : str
        Name of the container for errors.

    Attributes
    ----------
    samplerate, channels : int
        Sampling rate in Hz, and number of channels.
    frames : int
        More than any file holds, since the header is not believed.
    n_promised : int or None
        Number of samples by the header.
    """

    format, subtype = "CONTAINER", "CONTAINER"
    frames = 2**63 - 1

    def __init__(self, file, name):
        try:
            av = import_extra("av", extra="av", needed_for=f"Reading {name} files")
        except ImportError as error:
            raise UnusableRecording(f"libsndfile can't read its format. {error}") from error
        self._container = av.open(file, metadata_errors="ignore")
        if not self._container.streams.audio:
            raise UnusableRecording(f"it is a file of {name} without audio")
        stream = self._container.streams.audio[0]
        self.samplerate, self.channels = stream.sample_rate, stream.channels
        if not 0 < self.channels <= _MAX_CHANNELS:
            raise UnusableRecording(f"its header gives {self.channels} channels")
        self.n_promised = None
        if stream.duration:
            self.n_promised = round(stream.duration * stream.time_base * self.samplerate)
        self._resampler = av.AudioResampler("flt", stream.layout, self.samplerate)
        self._blocks = self._decode(stream)
        self._block = np.empty((0, self.channels), dtype=np.float32)

    def __enter__(self):
        """Return the file."""
        return self

    def __exit__(self, *error):
        """Close the file."""
        self._container.close()

    def _decode(self, stream):
        for frame in self._container.decode(stream):
            frame.pts = None  # gaps in the time stamps are not filled
            for converted in self._resampler.resample(frame) if frame.samples else ():
                yield converted.to_ndarray().reshape(-1, self.channels)

    def read(self, out):
        """Fill an array of shape (n_samples, n_channels), and return the part that came."""
        n_filled = 0
        while n_filled < len(out):
            if not len(self._block):
                self._block = next(self._blocks, out[:0])
                if not len(self._block):
                    break
            n_samples = min(len(self._block), len(out) - n_filled)
            out[n_filled : n_filled + n_samples] = self._block[:n_samples]
            self._block = self._block[n_samples:]
            n_filled += n_samples
        return out[:n_filled]
