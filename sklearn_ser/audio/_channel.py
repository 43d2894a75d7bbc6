"""One channel of a file with several, as a recording that is read when it is needed."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ._waveform import read_file, to_mono


@dataclass(frozen=True)
class ChannelOfFile:
    """One channel of an audio file, read when it is needed.

    A recording like a path, for corpora whose channels must not be averaged. It has a single
    channel, so that a transformer's own ``channel=`` has nothing left to choose.

    Parameters
    ----------
    path : str
        The file, of any format that libsndfile reads.

    channel : int or "louder", default="louder"
        The channel, counted from 0, negative from the last. "louder" is the one with the most
        energy in this file, and the first of those that have the same.

    Examples
    --------
    >>> from sklearn_ser.audio import ChannelOfFile
    >>> ChannelOfFile("f1/dis-f1-b1.wav")
    ChannelOfFile(path='f1/dis-f1-b1.wav', channel='louder')
    """

    path: str
    channel: int | str = "louder"

    def __post_init__(self):
        """Refuse what is no channel."""
        if isinstance(self.channel, str) and self.channel != "louder":
            raise ValueError(f"channel={self.channel!r} must be 'louder' or an int.")

    def get_all_samples(self):
        """Read the channel, as torchcodec's ``AudioDecoder`` does.

        Returns
        -------
        samples : SimpleNamespace
            With ``data``, a float32 array of shape (1, n_samples), and ``sample_rate`` in Hz.

        Raises
        ------
        UnusableRecording
            If the file is missing, is not audio or has no such channel.
        """
        samples, rate = read_file(self.path)
        channel = _loudest(samples) if self.channel == "louder" else self.channel
        return SimpleNamespace(data=to_mono(samples, channel)[np.newaxis], sample_rate=rate)


def _loudest(samples):
    """Return the number of the channel with the most energy, and of equals the first."""
    if samples.ndim == 1:
        return 0
    return int(np.square(samples, dtype=np.float64).sum(axis=0).argmax())
