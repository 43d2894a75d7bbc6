"""Blocks of features side by side: which columns belong together."""

from numbers import Integral

import numpy as np

from sklearn_ser._warnings import warn

_MAX_NAMED = 5


def find_blocks(blocks, n_features, names=None):
    """Find the columns of each block.

    Parameters
    ----------
    blocks : "auto", dict or list
        The text before the first ``__`` of the columns' names; or for each block the number of its
        columns, its slice, or the names of its columns. A dict names the blocks.
    n_features : int
        Number of columns.
    names : ndarray of str of shape (n_features,), default=None
        Names of the columns, if they have any.

    Returns
    -------
    columns : dict of str to ndarray of int
        The positions of each block's columns.

    Raises
    ------
    ValueError
        If a column is in no block or in two, if a block is empty, or if there is no such column.
    """
    if isinstance(blocks, str):
        return _find_by_prefix(n_features, names)
    entries = blocks if isinstance(blocks, dict) else {f"block{i}": b for i, b in enumerate(blocks)}
    if all(isinstance(entry, Integral) for entry in entries.values()):
        columns = _split_by_width(entries, n_features)
    else:
        columns = {name: _columns_of(entry, n_features, names) for name, entry in entries.items()}
    _refuse_gaps(columns, n_features, names)
    return columns


def _find_by_prefix(n_features, names):
    prefixes = [] if names is None else [name.partition("__") for name in names]
    if not any(prefix and separator for prefix, separator, _ in prefixes):
        warn(
            f"blocks='auto' finds nothing that tells the {n_features} columns of X apart, and "
            "takes them for one block. Give their widths, as in blocks=[512, 256], or names: "
            "FeatureUnion(…).set_output(transform='pandas')."
        )
        return {"all": np.arange(n_features)}
    bare = [
        name
        for name, (prefix, separator, _) in zip(names, prefixes, strict=True)
        if not (prefix and separator)
    ]
    if bare:
        raise ValueError(
            f"blocks='auto' needs the name of a block before '__' in each column's name, and "
            f"{_enumerate(bare)} {'has' if len(bare) == 1 else 'have'} none. Give blocks as lists "
            "of names."
        )
    within = [rest.partition("__") for _, _, rest in prefixes]
    if len({prefix for prefix, _, _ in prefixes}) == 1 and all(p and sep for p, sep, _ in within):
        prefixes = within  # of a union in a union, the inner names
    columns: dict[str, list] = {}
    for position, (prefix, _, _) in enumerate(prefixes):
        columns.setdefault(prefix, []).append(position)
    return {prefix: np.array(positions) for prefix, positions in columns.items()}


def _split_by_width(widths, n_features):
    wrong = [name for name, width in widths.items() if width < 1 or isinstance(width, bool)]
    if wrong:
        raise ValueError(
            f"blocks has no number of columns above zero for {_enumerate(wrong)}: a width is how "
            "many columns of X belong to a block."
        )
    total = sum(widths.values())
    if total != n_features:
        raise ValueError(
            f"blocks={list(widths.values())} add up to {total} columns, and X has {n_features}. "
            "Give a width for each block, in the order of the columns."
        )
    ends = np.cumsum(list(widths.values()))
    return {
        name: np.arange(end - width, end)
        for (name, width), end in zip(widths.items(), ends, strict=True)
    }


def _columns_of(entry, n_features, names):
    if isinstance(entry, slice):
        return np.arange(n_features)[entry]
    if isinstance(entry, (str, bytes, Integral)) or not np.iterable(entry):
        raise ValueError(
            f"blocks holds {entry!r} beside others: it should be 'auto', or hold widths alone, "
            "or slices and lists of the names of columns."
        )
    if names is None:
        raise ValueError(
            "blocks are given by the names of columns, and X has none: it is no data frame. Give "
            "widths, as in blocks=[512, 256], or slices."
        )
    position_of = {name: position for position, name in enumerate(names)}
    unknown = [name for name in entry if name not in position_of]
    if unknown:
        raise ValueError(f"blocks name columns that X doesn't have: {_enumerate(unknown)}.")
    return np.array([position_of[name] for name in entry], dtype=int)


def _refuse_gaps(columns, n_features, names):
    empty = [name for name, positions in columns.items() if not len(positions)]
    if empty:
        raise ValueError(
            f"blocks holds no column in {_enumerate(empty)}: leave it out, or give it columns."
        )
    times = np.bincount(np.concatenate(list(columns.values())), minlength=n_features)
    for count, what in ((times == 0, "in no block"), (times > 1, "in several")):
        if count.any():
            positions = np.flatnonzero(count)
            wrong = positions if names is None else names[positions]
            raise ValueError(
                f"Each column of X belongs to one block, and in blocks these are {what}: "
                f"{_enumerate(wrong)}. Leave out of X what is to have no part."
            )


def _enumerate(entries):
    listed = ", ".join(map(str, entries[:_MAX_NAMED]))
    return listed + (f" and {len(entries) - _MAX_NAMED} more" if len(entries) > _MAX_NAMED else "")
