"""Batches of recordings and transcripts, decoded during training and prediction."""

from copy import copy
from itertools import groupby, islice

import numpy as np
import torch

from sklearn_ser._warnings import warn
from sklearn_ser.audio import check_amplitude, load_waveform, read_each
from sklearn_ser.embedders import warn_truncated
from sklearn_ser.nn import exact_convolutions
from sklearn_ser.training import call, to_device

from ._students import tokenize

# Narrow students are fitted to at most this number of recordings, each cut to so many seconds:
# about 30 000 frames.
_MAX_FITTED, _SECONDS_FITTED = 200, 4.0
# Maximum number of recordings that a warning lists.
_MAX_NAMED = 10


class Reader:
    """Decode recordings for a network.

    Parameters
    ----------
    network : SpeechFeatures or Backbone
        The network, which has a sampling rate and preprocessing.
    sampling_rate : int
        Sampling rate of arrays that come without one, in Hz.
    channel : int or None
        Channel to use. If None, channels are averaged.
    n_jobs : int or None
        Number of threads, as in `joblib.Parallel`.
    """

    def __init__(self, network, *, sampling_rate, channel, n_jobs):
        self.network = network
        self.sampling_rate, self.channel, self.n_jobs = sampling_rate, channel, n_jobs

    def read(self, recording):
        """Return a waveform at the network's sampling rate, before its preprocessing."""
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=self.network.sampling_rate,
            channel=self.channel,
        )
        check_amplitude(waveform)
        return waveform

    def read_all(self, recordings, positions, problems, *, n_ahead=None):
        """Yield positions and waveforms, and add those that cannot be used to `problems`."""
        return read_each(
            self.read,
            recordings,
            problems,
            n_jobs=self.n_jobs,
            positions=positions,
            n_ahead=n_ahead,
        )

    def count_samples(self, seconds):
        """Return the number of samples of a duration, at least one."""
        return max(1, round(seconds * self.network.sampling_rate))


class SpeechInputs:
    """Batches of the inputs of `DistilledNetwork` and `LayerPredictor`.

    Each epoch decodes each recording once, in threads that prefetch a batch. Recordings that
    cannot be used are left out from then on.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings.
    reader : Reader
        Decodes them for a `SpeechFeatures`.
    max_seconds : float
        Longer recordings are cropped to this duration, at random in each epoch.
    rng : numpy.random.Generator or None
        Draws the crops. If None, they are taken from the centre.
    problems : ErrorCollector
        Collects recordings that cannot be used.
    token_ids : list of list of int, default=None
        Tokens of each transcript, empty if it is missing.
    teacher : TeacherLayers, default=None
        Computes the layers that a student predicts.
    """

    def __init__(
        self, recordings, reader, *, max_seconds, rng, problems, token_ids=None, teacher=None
    ):
        self.recordings, self.reader, self.rng = recordings, reader, rng
        self.max_samples = reader.count_samples(max_seconds)
        self.problems, self.token_ids, self.teacher = problems, token_ids, teacher

    def __len__(self):
        """Return the number of recordings."""
        return len(self.recordings)

    def batches(self, splits):
        """Yield the positions and the inputs of each batch.

        Parameters
        ----------
        splits : list of array-like of int
            Positions of the recordings of each batch, all different.

        Yields
        ------
        positions : ndarray of int
            The recordings of the batch that can be used.
        inputs : dict of str to Tensor
            Arguments of the module.

        Raises
        ------
        ValueError
            If no recording can be used.
        """
        batch_of = {int(p): number for number, split in enumerate(splits) for p in split}
        usable = [p for p in batch_of if p not in self.problems.by_position]
        read = self.reader.read_all(
            self.recordings, usable, self.problems, n_ahead=max(map(len, splits), default=1)
        )
        is_empty = True
        for _, pieces in groupby(read, key=lambda piece: batch_of[piece[0]]):
            is_empty = False
            positions, waveforms = zip(*pieces, strict=True)
            yield np.array(positions), self._collate(positions, waveforms)
        if is_empty:
            raise ValueError("No recording is left to train on: none can be used.")

    def find_problems(self):
        """Decode all recordings once to find those that cannot be used."""
        for _ in self.reader.read_all(self.recordings, range(len(self)), self.problems):
            pass

    def center_crop(self):
        """Return the same recordings, cropped at the centre."""
        inputs = copy(self)
        inputs.rng = None
        return inputs

    def sample_features(self, positions):
        """Return the features of a sample of recordings, short crops of the centre of each."""
        inputs = self.center_crop()
        inputs.max_samples = min(inputs.max_samples, self.reader.count_samples(_SECONDS_FITTED))
        inputs.token_ids, inputs.teacher = None, None
        sample = positions[:: -(-len(positions) // _MAX_FITTED)]
        return [batch["features"] for _, batch in inputs.batches([[p] for p in sample])]

    def warn_skipped(self):
        """Warn of the recordings that could not be used."""
        found = sorted(self.problems.by_position.items())
        if found:
            listed = "; ".join(f"recording {p}: {problem}" for p, problem in found[:_MAX_NAMED])
            more = f"; and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
            warn(
                f"{len(found)} recordings can't be used and are left out of training: "
                f"{listed}{more}."
            )

    def _collate(self, positions, waveforms):
        student = self.reader.network
        features, layers = [], []
        for position, waveform in zip(positions, waveforms, strict=True):
            start = self._draw_start(len(waveform))
            part = slice(start, start + self.max_samples)
            features.append(student.features(student.prepare(waveform)[part]))
            if self.teacher is not None:
                layers.append(self.teacher.layers_of(position, waveform, part))
        batch = _concatenate("features", "lengths", features)
        if self.token_ids is not None:
            batch |= _concatenate_tokens(self.token_ids, positions)
        if self.teacher is not None:
            batch |= _concatenate("teacher", "n_teacher_frames", layers)
        return batch

    def _draw_start(self, n_samples):
        left = max(0, n_samples - self.max_samples)
        return left // 2 if self.rng is None else int(self.rng.integers(left + 1))


def _concatenate(name, lengths_name, pieces):
    """Return pieces of unequal length, concatenated, and their lengths."""
    return {name: torch.cat(pieces), lengths_name: torch.tensor([len(piece) for piece in pieces])}


def _concatenate_tokens(token_ids, positions):
    tokens = [torch.tensor(token_ids[position], dtype=torch.long) for position in positions]
    return _concatenate("token_ids", "n_tokens", tokens)


def tokenize_transcripts(settings, transcripts, n_recordings):
    """Return the tokens of each transcript, and warn of those that are truncated.

    Parameters
    ----------
    settings : dict or None
        Settings of a `TextStudent`; None if there is none.
    transcripts : list of (str or None), or None
        Transcripts; None for each that is missing, or for all.
    n_recordings : int
        Number of recordings.

    Returns
    -------
    token_ids : list of list of int, or None
        Tokens of each transcript, empty if it is missing. None without settings.
    """
    if settings is None:
        return None
    token_ids: list[list[int]] = [[] for _ in range(n_recordings)]
    rows = [row for row, text in enumerate(transcripts or []) if text is not None]
    if rows:
        found, n_tokens = tokenize(settings, [transcripts[row] for row in rows])
        truncated = {}
        for row, ids, n in zip(rows, found, n_tokens, strict=True):
            token_ids[row] = ids
            if n > len(ids):
                truncated[row] = n
        warn_truncated(truncated, settings["max_tokens"])
    return token_ids


def predict_windows(
    module, recordings, reader, token_ids, *, n_outputs, max_seconds, batch_size, problems
):
    """Predict the windows of recordings, and average them by their lengths.

    Parameters
    ----------
    module : DistilledNetwork
        In evaluation mode, on its device.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings.
    reader : Reader
        Decodes them for a `SpeechFeatures`.
    token_ids : list of list of int, or None
        Tokens of each transcript.
    n_outputs : int
        Number of outputs of the module.
    max_seconds : float
        Duration of the longest window.
    batch_size : int
        Number of windows of a batch.
    problems : ErrorCollector
        Collects recordings that cannot be used.

    Returns
    -------
    outputs : ndarray of shape (n_recordings, n_outputs)
        NaN for recordings that cannot be used.
    """
    network, device = reader.network, next(module.parameters()).device
    n_samples = reader.count_samples(max_seconds)
    waveforms = reader.read_all(recordings, None, problems, n_ahead=batch_size)
    windows = (
        (position, len(window), network.features(window))
        for position, waveform in waveforms
        for window in _cut(network.prepare(waveform), n_samples)
    )
    sums, n_read = np.zeros((len(recordings), n_outputs)), np.zeros((len(recordings), 1))
    while batch := list(islice(windows, batch_size)):
        positions, lengths, features = zip(*batch, strict=True)
        inputs = _concatenate("features", "lengths", features)
        if token_ids is not None:
            inputs |= _concatenate_tokens(token_ids, positions)
        with torch.inference_mode(), exact_convolutions():
            outputs = call(module, to_device(inputs, device)).double().cpu().numpy()
        weights = np.array(lengths)[:, None]
        np.add.at(sums, list(positions), weights * outputs)
        np.add.at(n_read, list(positions), weights)
    problems.warn()
    return np.divide(sums, n_read, out=np.full_like(sums, np.nan), where=n_read > 0)


def _cut(waveform, n_samples):
    """Cut a waveform into windows of about equal length, at most `n_samples`, without overlap."""
    return np.array_split(waveform, max(1, -(-len(waveform) // n_samples)))
