"""A lazily read recording: one channel of a multichannel file."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ._file import read_file
from ._waveform import to_mono


@dataclass(frozen=True)
class ChannelOfFile:
    """One channel of an audio file, read lazily.

    Use it in place of a path for corpora whose channels must not be averaged. The recording has
    a single channel, so the ``channel`` parameter of a transformer has no effect on it.

    Parameters
    ----------
    path : str
        Path of the file, in any format that libsndfile reads.

    channel : int or "louder", default="louder"
        Index of the channel; negative indices count from the last. "louder" selects the channel
        with the most energy in this file, the first one in case of a tie.

    Examples
    --------
    >>> from sklearn_ser.audio import ChannelOfFile
    >>> ChannelOfFile("f1/dis-f1-b1.wav")
    ChannelOfFile(path='f1/dis-f1-b1.wav', channel='louder')
    """

    path: str
    channel: int | str = "louder"

    def __post_init__(self):
        """Check the channel."""
        if isinstance(self.channel, str) and self.channel != "louder":
            raise ValueError(f"channel={self.channel!r} must be 'louder' or an int.")

    def get_all_samples(self):
        """Read the channel, with the interface of torchcodec's ``AudioDecoder``.

        Returns
        -------
        samples : SimpleNamespace
            Its attributes are ``data``, a float32 array of shape (1, n_samples), and
            ``sample_rate``, in Hz.

        Raises
        ------
        UnusableRecording
            If the file is missing, is not audio or does not have the channel.
        """
        samples, rate = read_file(self.path)
        channel = _loudest(samples) if self.channel == "louder" else self.channel
        return SimpleNamespace(data=to_mono(samples, channel)[np.newaxis], sample_rate=rate)


def _loudest(samples):
    """Return the index of the channel with the most energy, the first one in case of a tie."""
    if samples.ndim == 1:
        return 0
    return int(np.square(samples, dtype=np.float64).sum(axis=0).argmax())
