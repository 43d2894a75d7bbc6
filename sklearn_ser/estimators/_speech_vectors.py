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


def embed(recordings, transcripts, positions, *, audio_embedder, text_embedder):
    """Embed some recordings, and all transcripts there are.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    transcripts : list of str or None
        None for each that is missing, or in place of the list.
    positions : sequence of int
        The recordings to embed; all others get NaN.
    audio_embedder : embedder
    text_embedder : embedder or None
        None goes without transcripts.

    Returns
    -------
    vectors : Vectors
    """
    n_audio = audio_embedder._load_backbone().n_dims
    audio = np.full((len(recordings), n_audio), np.nan, dtype=np.float32)
    if len(positions):
        audio[positions] = audio_embedder.fit_transform([recordings[row] for row in positions])
    if text_embedder is None:
        return Vectors(audio, None, None)
    transcripts = transcripts or [None] * len(recordings)
    has_text = np.array([text is not None for text in transcripts], dtype=bool)
    text = np.zeros((len(recordings), text_embedder._load_backbone().n_dims), dtype=np.float32)
    if has_text.any():
        some = [text for text in transcripts if text is not None]
        text[has_text] = text_embedder.fit_transform(some)
    return Vectors(audio, text, has_text)
