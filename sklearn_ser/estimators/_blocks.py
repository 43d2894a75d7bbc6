"""Find the columns of each block of features."""

from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ser._warnings import warn

_MAX_LISTED = 5
# Number of rows at a time in which to look for missing values, to bound memory.
_N_ROWS = 4096


def find_blocks(blocks, n_features, names=None):
    """Find the columns of each block.

    Parameters
    ----------
    blocks : "auto", dict or list
        "auto" uses the prefix before the first ``__`` of the column names. Otherwise, for each
        block, its number of columns, its slice, or the names of its columns. A dict names the
        blocks.
    n_features : int
        Number of columns.
    names : ndarray of str of shape (n_features,), default=None
        Names of the columns, if there are any.

    Returns
    -------
    columns : dict of str to ndarray of int
        The positions of the columns of each block.

    Raises
    ------
    ValueError
        If a column is in no block or in several, if a block is empty, or if a column is unknown.
    """
    if isinstance(blocks, str):
        return _find_by_prefix(n_features, names)
    entries = blocks if isinstance(blocks, dict) else {f"block{i}": b for i, b in enumerate(blocks)}
    if all(isinstance(entry, Integral) for entry in entries.values()):
        columns = _split_by_width(entries, n_features)
    else:
        columns = {name: _columns_of(entry, n_features, names) for name, entry in entries.items()}
    _check_partition(columns, n_features, names)
    return columns


def check_missing(table, blocks):
    """Check that each row has a value in all columns of a block or in none, and has a block.

    Parameters
    ----------
    table : ndarray of shape (n_recordings, n_features)
        Features. NaN is a missing value.
    blocks : dict of str to ndarray of int
        The columns of each block by its name.

    Returns
    -------
    present : dict of str to ndarray of bool of shape (n_recordings,)
        Whether each row has the block.

    Raises
    ------
    ValueError
        If a block has both numbers and NaN in a row, or a row is all NaN.
    """
    n_missing = {name: np.empty(len(table), dtype=int) for name in blocks}
    for rows in gen_batches(len(table), _N_ROWS):
        is_missing = np.isnan(table[rows])
        for name, columns in blocks.items():
            n_missing[name][rows] = is_missing[:, columns].sum(axis=1)
    present = {}
    for name, columns in blocks.items():
        partly = np.flatnonzero((n_missing[name] > 0) & (n_missing[name] < len(columns)))
        if len(partly):
            raise ValueError(
                f"X contains NaN in some columns of block {name!r}, in rows "
                f"{_format_names(partly)}. A missing block must be NaN in all of its columns. "
                "Impute other missing values beforehand, or remove the rows."
            )
        present[name] = n_missing[name] == 0
    lost = np.flatnonzero(~np.any(list(present.values()), axis=0))
    if len(lost):
        raise ValueError(
            f"X contains NaN in all columns in rows {_format_names(lost)}: no block is left to "
            "classify these recordings by. Remove the rows."
        )
    return present


def _find_by_prefix(n_features, names):
    prefixes = [] if names is None else [name.partition("__") for name in names]
    if not any(prefix and separator for prefix, separator, _ in prefixes):
        warn(
            f"blocks='auto' finds no prefixes in the names of the {n_features} columns of X and "
            "uses them as one block. Pass the widths of the blocks, as in blocks=[512, 256], or "
            "set the names by FeatureUnion(…).set_output(transform='pandas')."
        )
        return {"all": np.arange(n_features)}
    without_prefix = [
        name
        for name, (prefix, separator, _) in zip(names, prefixes, strict=True)
        if not (prefix and separator)
    ]
    if without_prefix:
        raise ValueError(
            f"blocks='auto' needs the name of a block before '__' in each column name, but "
            f"{_format_names(without_prefix)} {'has' if len(without_prefix) == 1 else 'have'} "
            "none. Pass blocks as lists of names."
        )
    inner = [rest.partition("__") for _, _, rest in prefixes]
    if len({prefix for prefix, _, _ in prefixes}) == 1 and all(p and sep for p, sep, _ in inner):
        prefixes = inner  # a union within a union
    columns: dict[str, list] = {}
    for position, (prefix, _, _) in enumerate(prefixes):
        columns.setdefault(prefix, []).append(position)
    return {prefix: np.array(positions) for prefix, positions in columns.items()}


def _split_by_width(widths, n_features):
    wrong = [name for name, width in widths.items() if width < 1 or isinstance(width, bool)]
    if wrong:
        raise ValueError(
            f"blocks must give a positive number of columns for {_format_names(wrong)}: a width is "
            "the number of columns of a block."
        )
    total = sum(widths.values())
    if total != n_features:
        raise ValueError(
            f"blocks={list(widths.values())} add up to {total} columns, and X has {n_features}. "
            "Pass a width for each block, in the order of the columns."
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
            f"blocks contains {entry!r}: it must be 'auto', or contain only widths, or slices and "
            "lists of column names."
        )
    if names is None:
        raise ValueError(
            "blocks contains names of columns, but X has none: it is not a DataFrame. Pass widths, "
            "as in blocks=[512, 256], or slices."
        )
    position_of = {name: position for position, name in enumerate(names)}
    unknown = [name for name in entry if name not in position_of]
    if unknown:
        raise ValueError(f"blocks contains columns that X does not have: {_format_names(unknown)}.")
    return np.array([position_of[name] for name in entry], dtype=int)


def _check_partition(columns, n_features, names):
    """Check that each column is in exactly one block, and that no block is empty."""
    empty = [name for name, positions in columns.items() if not len(positions)]
    if empty:
        raise ValueError(
            f"blocks has no columns for {_format_names(empty)}: remove the block, or add columns."
        )
    counts = np.bincount(np.concatenate(list(columns.values())), minlength=n_features)
    for is_wrong, where in ((counts == 0, "in no block"), (counts > 1, "in several")):
        if is_wrong.any():
            positions = np.flatnonzero(is_wrong)
            wrong = positions if names is None else names[positions]
            raise ValueError(
                f"Each column of X must be in exactly one block, but in blocks these are {where}: "
                f"{_format_names(wrong)}. Remove unused columns from X."
            )


def _format_names(names):
    listed = ", ".join(map(str, names[:_MAX_LISTED]))
    return listed + (f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else "")
