"""Batches of recordings as tensors, and how a module takes them."""

import math

import numpy as np
import torch
from torch.utils.data import Dataset


class Samples(Dataset):
    """A subset of the recordings, with their targets.

    Parameters
    ----------
    inputs : object
        ``inputs[positions]`` returns a batch: an array, a tensor, or a dict of tensors. Or it has
        a method ``batches(splits)``, which yields the positions and the batch of each split and
        may leave out recordings that cannot be used.
    targets : ndarray of shape (n_recordings, ...)
        Targets of all recordings.
    positions : ndarray of int
        Indices of the recordings in the subset.
    balance_by : ndarray of int, shape (n_recordings,), default=None
        Class of each recording; the classes are spread evenly over the batches.
    """

    def __init__(self, inputs, targets, positions, balance_by=None):
        self.inputs, self.targets, self.positions = inputs, targets, positions
        self.balance_by = balance_by

    def __len__(self):
        """Return the number of recordings."""
        return len(self.positions)


class Batches:
    """Iterate over samples in batches, by slicing arrays instead of collating rows.

    The batches of an epoch differ in size by at most one recording, so that no batch holds a single
    recording, whose variance a batch norm could not compute.

    Parameters
    ----------
    samples : Samples
        The recordings.
    batch_size : int
        Size of the largest batch. If it is 2 and the number of samples is odd, one batch has 3.
    rng : numpy.random.Generator, default=None
        Shuffles the recordings in each epoch. If None, the order is kept.
    """

    def __init__(self, samples, batch_size, rng=None):
        self.samples, self.rng = samples, rng
        self.n_batches = count_batches(len(samples), batch_size)

    def __iter__(self):
        """Yield the inputs and the targets of each batch."""
        samples = self.samples
        positions = samples.positions
        if self.rng is not None:
            positions = self.rng.permutation(positions)
            if samples.balance_by is not None:
                positions = interleave(positions, samples.balance_by[positions])
        for batch, inputs in _load(samples.inputs, np.array_split(positions, self.n_batches)):
            yield inputs, take(samples.targets, batch)


def _load(inputs, splits):
    """Yield the positions and the inputs of each batch."""
    if hasattr(inputs, "batches"):
        yield from inputs.batches(splits)
    else:
        yield from ((positions, take(inputs, positions)) for positions in splits)


def interleave(positions, classes):
    """Reorder recordings so that any consecutive ones have about the same share of each class.

    Parameters
    ----------
    positions, classes : ndarray of shape (n_recordings,)
        Index and class of each recording. Within a class, the order is kept.

    Returns
    -------
    positions : ndarray of shape (n_recordings,)
    """
    places = np.empty(len(positions))
    for name in np.unique(classes):
        (members,) = np.nonzero(classes == name)
        places[members] = (np.arange(len(members)) + 0.5) / len(members)
    return positions[np.argsort(places, kind="stable")]


def count_batches(n_samples, batch_size):
    """Return the number of batches in an epoch."""
    n_batches = math.ceil(n_samples / batch_size)
    return max(1, min(n_batches, n_samples // 2)) if batch_size > 1 else n_batches


def take(inputs, positions):
    """Return a batch as a tensor or a dict of tensors."""
    batch = inputs[positions]
    return torch.from_numpy(batch) if isinstance(batch, np.ndarray) else batch


def to_device(batch, device):
    """Move a tensor or a dict of tensors to a device."""
    if isinstance(batch, dict):
        return {name: values.to(device) for name, values in batch.items()}
    return batch.to(device)


def call(function, batch):
    """Call a module, or one of its methods, with a tensor or with a dict of keyword arguments."""
    return function(**batch) if isinstance(batch, dict) else function(batch)
