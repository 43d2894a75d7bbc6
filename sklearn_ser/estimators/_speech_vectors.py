"""One vector of each recording, and one of its transcript, from encoders that are not trained."""

import numpy as np
import torch


class Vectors:
    """Vectors of recordings and transcripts, as batches of `VectorRegressor`'s inputs.

    Parameters
    ----------
    audio : ndarray of shape (n_recordings, n_audio)
    text : ndarray of shape (n_recordings, n_text) or None
    has_text : ndarray of bool, shape (n_recordings,), or None
        Whether there is a transcript.
    """

    def __init__(self, audio, text, has_text):
        self.audio, self.text, self.has_text = audio, text, has_text

    @property
    def widths(self):
        """Sizes of a recording's and of a transcript's vector, None where there is none."""
        return [None if array is None else array.shape[1] for array in (self.audio, self.text)]

    @property
    def usable(self):
        """Positions of the recordings that could be used."""
        return np.flatnonzero(np.isfinite(self.audio).all(axis=1))

    def __len__(self):
        """Count the recordings."""
        return len(self.audio)

    def __getitem__(self, rows):
        """Return a batch: a dict of tensors, by the arguments of the module."""
        batch = {"audio": torch.from_numpy(self.audio[rows])}
        if self.text is not None:
            batch["text"] = torch.from_numpy(self.text[rows])
            batch["has_text"] = torch.from_numpy(self.has_text[rows])
        return batch


def embed(recordings, transcripts, audio_embedder, text_embedder):
    """Embed recordings, and the transcripts there are.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    transcripts : list of str or None
        None for each that is missing, or in place of the list.
    audio_embedder : embedder
    text_embedder : embedder or None
        None goes without transcripts.

    Returns
    -------
    vectors : Vectors
    """
    audio = audio_embedder.fit_transform(recordings)
    if text_embedder is None:
        return Vectors(audio, None, None)
    transcripts = transcripts or [None] * len(recordings)
    has_text = np.array([text is not None for text in transcripts], dtype=bool)
    text = text_embedder.fit_transform([text or "" for text in transcripts])
    return Vectors(audio, text, has_text)
