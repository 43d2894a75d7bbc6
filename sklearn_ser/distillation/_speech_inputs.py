"""Batches of recordings and transcripts, decoded during training and prediction."""

from array import array
from copy import copy
from itertools import groupby, islice

import numpy as np
import torch

from sklearn_ser._warnings import warn
from sklearn_ser.audio import (
    RecordingError,
    check_amplitude,
    join_first,
    load_waveform,
    read_each,
)
from sklearn_ser.embedders import warn_truncated
from sklearn_ser.nn import exact_convolutions
from sklearn_ser.training import call, to_device

from ._students import tokenize

# Narrow students are fitted to at most this number of recordings, each cut to so many seconds:
# about 30 000 frames.
_MAX_FITTED, _SECONDS_FITTED = 200, 4.0
# Number of texts that are tokenized at once; what the tokenizer returns takes kilobytes for each.
_N_TOKENIZED = 5000


class Reader:
    """Decode recordings for a network.

    Parameters
    ----------
    features : SpeechFeatures
        Sampling rate, preprocessing and input features of the network.
    sampling_rate : int
        Sampling rate of arrays that come without one, in Hz.
    channel : int or None
        Channel to use. If None, channels are averaged.
    n_jobs : int or None
        Number of threads, as in `joblib.Parallel`.
    """

    def __init__(self, features, *, sampling_rate, channel, n_jobs):
        self.features = features
        self.sampling_rate, self.channel, self.n_jobs = sampling_rate, channel, n_jobs

    def read(self, recording):
        """Return a waveform at the network's sampling rate, before its preprocessing."""
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=self.features.sampling_rate,
            channel=self.channel,
        )
        check_amplitude(waveform)
        return waveform

    def count_samples(self, seconds):
        """Return the number of samples of a duration, at least one."""
        return max(1, round(seconds * self.features.sampling_rate))


class SpeechInputs:
    """Batches of the inputs of `DistilledNetwork` and `LayerPredictor`.

    Each epoch decodes and crops each recording once, in threads that prefetch a batch. Recordings
    that cannot be used are left out from then on.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings.
    reader : Reader
        Decodes them.
    max_seconds : float
        Longer recordings are cropped to this duration, at random in each epoch.
    rng : numpy.random.Generator or None
        Draws the crops. If None, they are taken from the centre.
    problems : ErrorCollector
        Collects recordings that cannot be used.
    token_ids : TokenSequences, default=None
        Tokens of each transcript, empty if it is missing.
    n_labelled : int, default=None
        Number of recordings before those of `unlabeled`, for messages. If None, all.

    Attributes
    ----------
    teacher : TeacherLayers or None
        Computes the layers that a student predicts. Initially None.
    """

    def __init__(
        self,
        recordings,
        reader,
        *,
        max_seconds,
        rng,
        problems,
        token_ids=None,
        n_labelled=None,
    ):
        self.recordings, self.reader, self.rng = recordings, reader, rng
        self.max_samples = reader.count_samples(max_seconds)
        self.problems, self.token_ids, self.teacher = problems, token_ids, None
        self.n_labelled = len(recordings) if n_labelled is None else n_labelled

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
        positions = np.concatenate([np.asarray(split, dtype=int) for split in splits])
        # By position, in arrays: a few bytes for each recording.
        batch_of, start_of = np.zeros(len(self), dtype=int), np.full(len(self), 0.5)
        batch_of[positions] = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
        usable = positions[~np.isin(positions, list(self.problems.by_position))]
        if self.rng is not None:
            start_of[usable] = self.rng.random(len(usable))
        pieces = self._read(
            self._crop,
            usable.tolist(),
            arguments=start_of,
            n_ahead=max(map(len, splits), default=1),
        )
        is_empty = True
        for _, batch in groupby(pieces, key=lambda piece: batch_of[piece[0]]):
            is_empty = False
            rows, crops = zip(*batch, strict=True)
            yield np.array(rows), self._collate(rows, crops)
        if is_empty:
            raise ValueError(
                f"None of the {len(positions)} recordings of the training set, or of the "
                "validation set of early_stopping, can be used."
            )

    def state_dict(self):
        """Return what the next epoch depends on."""
        return {
            "crops": None if self.rng is None else self.rng.bit_generator.state,
            "problems": self.problems.by_position,
            "notes": self.problems.notes,
        }

    def load_state_dict(self, state):
        """Continue from a state."""
        if self.rng is not None:
            self.rng.bit_generator.state = state["crops"]
        self.problems.by_position |= state["problems"]
        self.problems.notes |= state["notes"]

    def find_problems(self):
        """Decode all recordings once to find those that cannot be used."""
        for _ in self._read(self.reader.read, range(len(self))):
            pass

    def center_crop(self):
        """Return the same recordings, cropped at the centre."""
        inputs = copy(self)
        inputs.rng = None
        return inputs

    def sample(self, positions, n_max):
        """Yield the inputs of a sample of the recordings, cropped at the centre.

        Others take the place of recordings that cannot be used.
        """
        step = -(-len(positions) // n_max)
        order = [position for first in range(step) for position in positions[first::step]]
        batches = self.center_crop().batches([[position] for position in order])
        for _, batch in islice(batches, len(positions[::step])):
            yield batch

    def sample_features(self, positions):
        """Yield the features of a sample of recordings, short crops of the centre of each."""
        inputs = copy(self)
        inputs.max_samples = min(inputs.max_samples, self.reader.count_samples(_SECONDS_FITTED))
        inputs.token_ids, inputs.teacher = None, None
        for batch in inputs.sample(positions, _MAX_FITTED):
            yield batch["features"]

    def warn_skipped(self):
        """Warn of the recordings that could not be used, and of those that should be checked."""
        self.problems.warn_notes(self._rename)
        found = sorted(self.problems.by_position.items())
        if found:
            renamed = (self._rename(*item) for item in found)
            listed = join_first(
                [f"recording {position}: {problem}" for position, problem in renamed]
            )
            warn(f"{len(found)} recordings can't be used and are left out of training: {listed}.")

    def _rename(self, position, problem):
        """Return the position of a recording in `X` or `unlabeled`, and its problem."""
        if position < self.n_labelled:
            return position, problem
        return position - self.n_labelled, f"{problem} (of unlabeled=)"

    def _read(self, function, positions, **settings):
        """Apply a function to recordings; errors name positions in `X` or `unlabeled`."""
        settings |= {"n_jobs": self.reader.n_jobs, "positions": positions}
        try:
            yield from read_each(function, self.recordings, self.problems, **settings)
        except RecordingError as error:
            problems = dict(self._rename(*item) for item in error.problems.items())
            raise RecordingError(problems) from error.__cause__

    def _crop(self, recording, fraction):
        """Return the features of a crop, and what a teacher needs of it."""
        waveform = self.reader.read(recording)
        start = int(fraction * (max(0, len(waveform) - self.max_samples) + 1))
        part = slice(start, start + self.max_samples)
        front_end = self.reader.features
        features = front_end.features(front_end.prepare(waveform)[part])
        if self.teacher is None:
            return features, None
        is_whole = len(waveform) <= self.max_samples
        return features, (self.teacher.prepare(waveform)[part], is_whole)

    def _collate(self, positions, crops):
        batch = _concatenate("features", "lengths", [features for features, _ in crops])
        if self.token_ids is not None:
            batch |= _concatenate_tokens(self.token_ids, positions)
        if self.teacher is not None:
            layers = [
                self.teacher.layers_of(position, *for_teacher)
                for position, (_, for_teacher) in zip(positions, crops, strict=True)
            ]
            batch |= _concatenate("teacher", "n_teacher_frames", layers)
        return batch


def _concatenate(name, lengths_name, pieces):
    """Return pieces of unequal length, concatenated, and their lengths."""
    return {name: torch.cat(pieces), lengths_name: torch.tensor([len(piece) for piece in pieces])}


def _concatenate_tokens(token_ids, positions):
    tokens = [torch.tensor(token_ids[position], dtype=torch.long) for position in positions]
    return _concatenate("token_ids", "n_tokens", tokens)


class TokenSequences:
    """Sequences of tokens of any lengths, in one array: four bytes for each token.

    Parameters
    ----------
    sequences : iterable of sequence of int
        Tokens of each text.
    """

    def __init__(self, sequences):
        ids, ends = array("i"), array("q", [0])
        for sequence in sequences:
            ids.extend(sequence)
            ends.append(len(ids))
        self.ids, self.ends = np.array(ids), np.array(ends)

    def __getitem__(self, position):
        """Return the tokens of one text."""
        return self.ids[self.ends[position] : self.ends[position + 1]]


def tokenize_transcripts(settings, speech, suffix=""):
    """Yield the tokens of each transcript, and at the end warn of those that are truncated.

    Parameters
    ----------
    settings : dict
        Settings of a `TextStudent`.
    speech : tuple (recordings, transcripts)
        Recordings, and their transcripts; None for each transcript that is missing, or for all.
    suffix : str, default=""
        What to write after positions in the warning.

    Yields
    ------
    token_ids : list of int
        Tokens of a transcript, empty if it is missing.
    """
    recordings, transcripts = speech
    truncated = {}
    for start in range(0, len(recordings), _N_TOKENIZED):
        rows = range(start, min(start + _N_TOKENIZED, len(recordings)))
        known = [row for row in rows if transcripts and transcripts[row] is not None]
        texts = [transcripts[row] for row in known]
        found, n_tokens = tokenize(settings, texts) if texts else ([], [])
        tokens = dict(zip(known, found, strict=True))
        yield from (tokens.get(row, []) for row in rows)
        for row, n in zip(known, n_tokens, strict=True):
            if n > len(tokens[row]):
                truncated[row] = n
    warn_truncated(truncated, settings["max_tokens"], suffix)


def predict_windows(
    module,
    recordings,
    reader,
    token_ids,
    *,
    n_outputs,
    max_seconds,
    batch_size,
    problems,
    activation=None,
):
    """Predict the windows of recordings, and average them by their lengths.

    Parameters
    ----------
    module : DistilledNetwork
        In evaluation mode, on its device.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
        Recordings.
    reader : Reader
        Decodes them.
    token_ids : TokenSequences or None
        Tokens of each transcript.
    n_outputs : int
        Number of outputs of the module.
    max_seconds : float
        Duration of the longest window.
    batch_size : int
        Number of windows of a batch.
    problems : ErrorCollector
        Collects recordings that cannot be used.
    activation : callable, default=None
        Applied to the outputs of a batch of windows, in float64, before they are averaged.

    Returns
    -------
    outputs : ndarray of shape (n_recordings, n_outputs)
        NaN for recordings that cannot be used.
    """
    front_end, device = reader.features, next(module.parameters()).device
    problems.add_missing(recordings)
    n_samples = reader.count_samples(max_seconds)
    waveforms = read_each(reader.read, recordings, problems, n_jobs=reader.n_jobs, n_ahead=1)
    windows = (
        (position, len(window), front_end.features(window))
        for position, waveform in waveforms
        for window in _cut(front_end.prepare(waveform), n_samples)
    )
    sums, n_read = np.zeros((len(recordings), n_outputs)), np.zeros((len(recordings), 1))
    while batch := list(islice(windows, batch_size)):
        positions, lengths, features = zip(*batch, strict=True)
        inputs = _concatenate("features", "lengths", features)
        if token_ids is not None:
            inputs |= _concatenate_tokens(token_ids, positions)
        with torch.inference_mode(), exact_convolutions():
            outputs = call(module, to_device(inputs, device)).cpu().double()
            outputs = (outputs if activation is None else activation(outputs)).numpy()
        weights = np.array(lengths)[:, None]
        np.add.at(sums, list(positions), weights * outputs)
        np.add.at(n_read, list(positions), weights)
    problems.warn()
    return np.divide(sums, n_read, out=np.full_like(sums, np.nan), where=n_read > 0)


def _cut(waveform, n_samples):
    """Cut a waveform into windows of about equal length, at most `n_samples`, without overlap."""
    return np.array_split(waveform, max(1, -(-len(waveform) // n_samples)))
