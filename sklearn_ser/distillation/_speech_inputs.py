"""Recordings and transcripts as batches of a network's input, decoded as they are needed."""

from copy import copy

import numpy as np
import torch
from sklearn.utils import gen_batches

from sklearn_ser.audio import Problems, load_waveform, read_each, refuse_too_loud
from sklearn_ser.embedders import tell_cut
from sklearn_ser.nn import Standardization, exact_convolutions
from sklearn_ser.training import call, to_device

from ._students import tokenize

# Means and deviations are found of so many recordings at most: of their vectors, of their frames.
_MAX_LOOKED_AT, _MAX_HEARD = 1000, 50
# A narrow student is fitted to parts so long of so many recordings at most: some 30 000 frames.
_MAX_FITTED, _SECONDS_FITTED = 200, 4.0
# Layers of a teacher are kept in memory, in half precision, up to so many bytes.
_CACHE_BYTES = 2 * 1024**3


class Reader:
    """Reads recordings as a network is to see them.

    Parameters
    ----------
    network : SpeechStudent or backbone
        Whose rate and preprocessing counts.
    sampling_rate : int
        Of arrays that come without one, in Hz.
    channel : int or None
        Which channel to take; None for the mean.
    n_jobs : int or None
        Number of threads, as in `joblib.Parallel`.
    """

    def __init__(self, network, *, sampling_rate, channel, n_jobs):
        self.network = network
        self.sampling_rate, self.channel, self.n_jobs = sampling_rate, channel, n_jobs

    def read(self, recording):
        """Return a waveform at the network's rate, before its preprocessing."""
        waveform = load_waveform(
            recording,
            sampling_rate=self.sampling_rate,
            target_rate=self.network.sampling_rate,
            channel=self.channel,
        )
        refuse_too_loud(waveform)
        return waveform

    def read_all(self, recordings, positions, problems):
        """Yield positions and waveforms; `problems` is told of those that can't be used."""
        return read_each(self.read, recordings, problems, n_jobs=self.n_jobs, positions=positions)

    def find_problems(self, recordings, on_error):
        """Read each recording once, and return the positions of those that can be used.

        With ``on_error="raise"``, `RecordingError` is raised for the first that can't.
        """
        problems = Problems(on_error)
        usable = [
            position for position, _ in self.read_all(recordings, range(len(recordings)), problems)
        ]
        return np.array(usable, dtype=int), problems


class SpeechInputs:
    """Batches of recordings and transcripts for `DistilledNetwork` and `LayerPredictor`.

    Parameters
    ----------
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    reader : Reader
        Of a `SpeechStudent`.
    max_seconds : float
        Of a longer recording, a part as long as this is taken, another one each time.
    rng : numpy.random.Generator or None
        Draws the part; None takes the one in the middle.
    token_ids : list of list of int, default=None
        The tokens of each transcript, none where it is missing.
    teacher : TeacherLayers, default=None
        Gives what the student is to predict.
    """

    def __init__(self, recordings, reader, *, max_seconds, rng, token_ids=None, teacher=None):
        self.recordings, self.reader, self.rng = recordings, reader, rng
        self.max_samples = count_samples(max_seconds, reader.network)
        self.token_ids, self.teacher = token_ids, teacher

    def __len__(self):
        """Count the recordings."""
        return len(self.recordings)

    def __getitem__(self, positions):
        """Return a batch: a dict of tensors, by the arguments of the module."""
        student = self.reader.network
        features, layers = [], []
        for position, waveform in self.reader.read_all(
            self.recordings, positions, Problems("raise")
        ):
            start = self._draw_start(len(waveform))
            part = slice(start, start + self.max_samples)
            features.append(student.features(student.prepare(waveform)[part]))
            if self.teacher is not None:
                layers.append(self.teacher.layers_of(position, waveform, part))
        batch = join_pieces("features", "lengths", features)
        if self.token_ids is not None:
            tokens = [as_tokens(self.token_ids[position]) for position in positions]
            batch |= join_pieces("token_ids", "n_tokens", tokens)
        if self.teacher is not None:
            batch |= join_pieces("teacher", "n_teacher_frames", layers)
        return batch

    def in_the_middle(self):
        """Return the same recordings, of which the part in the middle is taken each time."""
        inputs = copy(self)
        inputs.rng = None
        return inputs

    def some_features(self, positions):
        """Return the features of recordings that are spread over all, of the middle of each."""
        some = positions[:: -(-len(positions) // _MAX_FITTED)]
        inputs = self.in_the_middle()
        inputs.max_samples = min(
            inputs.max_samples, count_samples(_SECONDS_FITTED, self.reader.network)
        )
        inputs.token_ids, inputs.teacher = None, None
        batches = (inputs[[position]] for position in some)
        return [batch["features"] for batch in batches]

    def _draw_start(self, n_samples):
        left = max(0, n_samples - self.max_samples)
        return left // 2 if self.rng is None else int(self.rng.integers(left + 1))


def look_at(module, inputs, positions, batch_size):
    """Return what the head of a network is given of some recordings, spread over all.

    Parameters
    ----------
    module : DistilledNetwork or VectorRegressor
        On the device where to compute.
    inputs : SpeechInputs or Vectors
    positions : ndarray of int
        The recordings to choose from.
    batch_size : int

    Returns
    -------
    vectors : dict of str to Tensor
        The arguments of `VectorRegressor`.
    """
    device = next(module.parameters()).device
    some = positions[:: -(-len(positions) // _MAX_LOOKED_AT)]
    found = []
    with torch.inference_mode(), exact_convolutions():
        for rows in gen_batches(len(some), batch_size):
            batch = to_device(inputs[some[rows]], device)
            found.append(module.vectors(**batch) if isinstance(inputs, SpeechInputs) else batch)
        return {name: torch.cat([vectors[name] for vectors in found]) for name in found[0]}


def join_pieces(name, name_of_lengths, pieces):
    """Return pieces of unequal length one after the other, and their lengths."""
    pieces = list(pieces)
    lengths = torch.tensor([len(piece) for piece in pieces])
    return {name: torch.cat(pieces), name_of_lengths: lengths}


def as_tokens(token_ids):
    """Return the tokens of a transcript, or none, as a tensor."""
    return torch.tensor(token_ids, dtype=torch.long)


class TeacherLayers:
    """Layers of a frozen encoder for recordings, standardized, kept as far as memory goes.

    Parameters
    ----------
    backbone : Backbone
        The teacher.
    layers : sequence of int
        Which of its hidden states, counted as transformers does.

    Notes
    -----
    Each dimension counts alike. The layers of Whisper, say, have an offset of ten times what tells
    recordings apart, and a student that gets it right has hardly anything else to learn.
    """

    def __init__(self, backbone, layers):
        self.backbone, self.layers = backbone, list(layers)
        self.kept: dict[int, torch.Tensor] = {}
        self.n_bytes = 0
        self.standardization = Standardization((len(self.layers), backbone.n_dims))

    def standardize(self, inputs, positions):
        """Learn the mean and deviation of each layer over the frames of some recordings."""
        some = positions[:: -(-len(positions) // _MAX_HEARD)]
        inputs = inputs.in_the_middle()
        self.standardization.learn(torch.cat([inputs[[position]]["teacher"] for position in some]))

    def layers_of(self, position, waveform, part):
        """Return the layers of a part of a recording, (n_frames, n_layers, n_dims)."""
        return self.standardization(self._found(position, waveform, part))

    def _found(self, position, waveform, part):
        if position in self.kept:
            return self.kept[position].float()
        prepared = self.backbone.prepare(waveform)[part]
        missing = self.backbone.min_samples - len(prepared)
        if missing > 0:
            prepared = np.pad(prepared, (0, missing))
        found = self.backbone.encode([prepared], max(self.layers))
        wanted = [states[0] for layer, states in enumerate(found) if layer in self.layers]
        layers = torch.stack(wanted, dim=1).float().cpu()
        is_whole = part.start == 0 and part.stop >= len(waveform)
        if is_whole and self.n_bytes + 2 * layers.numel() <= _CACHE_BYTES:
            self.kept[position] = layers.half()
            self.n_bytes += 2 * layers.numel()
        return layers.clone()  # out of inference mode


def tokens_of(settings, transcripts, n_recordings):
    """Return the tokens of each transcript, none where it is missing.

    Parameters
    ----------
    settings : dict or None
        Of a `TextStudent`; None where there is none.
    transcripts : list of str or None
        None for each that is missing, or in place of the list.
    n_recordings : int

    Returns
    -------
    token_ids : list of list of int, or None
    """
    if settings is None:
        return None
    token_ids: list[list[int]] = [[] for _ in range(n_recordings)]
    rows = [row for row, text in enumerate(transcripts or []) if text is not None]
    if rows:
        found, n_tokens = tokenize(settings, [transcripts[row] for row in rows])
        cut = {}
        for row, ids, n in zip(rows, found, n_tokens, strict=True):
            token_ids[row] = ids
            if n > len(ids):
                cut[row] = n
        tell_cut(cut, settings["max_tokens"])
    return token_ids


def average_windows(
    module, recordings, reader, token_ids, *, n_outputs, max_seconds, batch_size, problems
):
    """Predict recordings window by window, and average by the windows' lengths.

    Parameters
    ----------
    module : DistilledNetwork
        On the device where to compute.
    recordings : sequence, or ndarray of shape (n_recordings, n_samples)
    reader : Reader
        Of a `SpeechFeatures`.
    token_ids : list of list of int, or None
        The tokens of each transcript.
    n_outputs : int
    max_seconds : float
        Longest window.
    batch_size : int
        Recordings that are read, and windows that are computed, at once.
    problems : Problems
        Is told of recordings that can't be used.

    Returns
    -------
    outputs : ndarray of shape (n_recordings, n_outputs)
        NaN for recordings that can't be used.
    """
    network, device = reader.network, next(module.parameters()).device
    n_samples = count_samples(max_seconds, network)
    outputs = np.full((len(recordings), n_outputs), np.nan, dtype=np.float32)
    for rows in gen_batches(len(recordings), batch_size):
        windows = [
            (position, window)
            for position, waveform in reader.read_all(
                recordings, range(rows.start, rows.stop), problems
            )
            for window in cut_windows(network.prepare(waveform), n_samples)
        ]
        sums = np.zeros((rows.stop - rows.start, n_outputs + 1))
        for some in gen_batches(len(windows), batch_size):
            features = [network.features(window) for _, window in windows[some]]
            batch = join_pieces("features", "lengths", features)
            if token_ids is not None:
                tokens = [as_tokens(token_ids[position]) for position, _ in windows[some]]
                batch |= join_pieces("token_ids", "n_tokens", tokens)
            with torch.inference_mode(), exact_convolutions():
                found = call(module, to_device(batch, device)).float().cpu().numpy()
            for (position, window), output in zip(windows[some], found, strict=True):
                sums[position - rows.start] += len(window) * np.append(output, 1)
        read = sums[:, -1] > 0
        outputs[rows][read] = sums[read, :-1] / sums[read, -1:]
    problems.tell()
    return outputs


def count_samples(seconds, network):
    """Count the samples of so many seconds, at least one."""
    return max(1, round(seconds * network.sampling_rate))


def cut_windows(waveform, n_samples):
    """Cut a recording into windows of equal length, at most `n_samples` each, with no overlap."""
    n_windows = max(1, -(-len(waveform) // n_samples))
    return np.array_split(waveform, n_windows)
