"""Recordings as batches of tensors, and how these reach a module."""

import math

import numpy as np
import torch
from torch.utils.data import Dataset


class Samples(Dataset):
    """Some of the recordings, by position.

    Parameters
    ----------
    inputs : object
        ``inputs[positions]`` gives a batch: an array, a tensor, or a dict of tensors.
    targets : ndarray of shape (n_recordings, ...)
        What is learned of each.
    positions : ndarray of int
        The recordings.
    balance_by : ndarray of int, shape (n_recordings,), default=None
        What is to be spread evenly over the batches.
    """

    def __init__(self, inputs, targets, positions, balance_by=None):
        self.inputs, self.targets, self.positions = inputs, targets, positions
        self.balance_by = balance_by

    def __len__(self):
        """Count the recordings."""
        return len(self.positions)


class Batches:
    """Batches of samples: slices of their arrays, where a loader would gather row by row.

    The batches of a pass differ in size by one recording at most, so that none is left with a
    single recording, of which a batch norm knows no variance.

    Parameters
    ----------
    samples : Samples
        The recordings.
    batch_size : int
        The largest batch. With two and an odd number of samples, one batch has three.
    rng : numpy.random.Generator, default=None
        Draws a new order in each pass; None keeps the order.
    """

    def __init__(self, samples, batch_size, rng=None):
        self.samples, self.rng = samples, rng
        self.n_batches = count_batches(len(samples), batch_size)

    def __iter__(self):
        """Yield inputs and targets of one batch after the other."""
        samples = self.samples
        positions = samples.positions
        if self.rng is not None:
            positions = self.rng.permutation(positions)
            if samples.balance_by is not None:
                positions = spread_evenly(positions, samples.balance_by[positions])
        for batch in np.array_split(positions, self.n_batches):
            yield take(samples.inputs, batch), take(samples.targets, batch)


def spread_evenly(positions, kinds):
    """Order recordings so that any stretch has about the same share of each kind.

    Parameters
    ----------
    positions, kinds : ndarray of shape (n_recordings,)
        Recordings in any order, which those of a kind keep, and the kind of each.

    Returns
    -------
    positions : ndarray of shape (n_recordings,)
    """
    places = np.empty(len(positions))
    for kind in np.unique(kinds):
        (of_kind,) = np.nonzero(kinds == kind)
        places[of_kind] = (np.arange(len(of_kind)) + 0.5) / len(of_kind)
    return positions[np.argsort(places, kind="stable")]


def count_batches(n_samples, batch_size):
    """Count the batches of a pass."""
    n_batches = math.ceil(n_samples / batch_size)
    return max(1, min(n_batches, n_samples // 2)) if batch_size > 1 else n_batches


def take(inputs, positions):
    """Take a batch: a tensor or a dict of tensors."""
    batch = inputs[positions]
    return torch.from_numpy(batch) if isinstance(batch, np.ndarray) else batch


def to_device(batch, device):
    """Bring a tensor or a dict of tensors to a device."""
    if isinstance(batch, dict):
        return {name: values.to(device) for name, values in batch.items()}
    return batch.to(device)


def call(function, batch):
    """Call a module, or a method of one, with a tensor or with a dict of tensors by name."""
    return function(**batch) if isinstance(batch, dict) else function(batch)
