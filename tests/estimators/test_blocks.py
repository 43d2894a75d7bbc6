"""Blocks of columns, and errors for invalid blocks."""

import numpy as np
import pytest

from sklearn_ser.estimators._blocks import find_blocks

NAMES = np.array(["voice__a", "voice__b", "codec__a", "voice__c", "codec__b__x"])


def found(blocks, n_features=5, names=NAMES):
    return {name: c.tolist() for name, c in find_blocks(blocks, n_features, names).items()}


def test_auto_uses_the_first_prefix_in_order_of_appearance():
    expected = {"voice": [0, 1, 3], "codec": [2, 4]}
    assert found("auto") == expected
    assert list(found("auto")) == ["voice", "codec"]
    assert list(found("auto", names=NAMES[::-1])) == ["codec", "voice"]


@pytest.mark.parametrize("names", [None, np.array(list("abcde"))])
def test_columns_without_prefixes_are_one_block_with_a_warning(names):
    with pytest.warns(UserWarning, match=r"uses them as one block\. Pass the widths"):
        assert found("auto", names=names) == {"all": [0, 1, 2, 3, 4]}


def test_nested_unions_use_the_inner_names():
    names = np.array([f"union__{name}" for name in NAMES])
    assert found("auto", names=names) == {"voice": [0, 1, 3], "codec": [2, 4]}
    names = np.array(["union__voice__a", "union__voice__b", "union__x"])
    assert found("auto", 3, names) == {"union": [0, 1, 2]}


def test_empty_prefix_is_no_name():
    with pytest.warns(UserWarning, match="uses them as one block"):
        assert found("auto", 2, np.array(["__a", "__b"])) == {"all": [0, 1]}


def test_messages_stay_short():
    names = np.array([f"voice__{i}" for i in range(1500)])
    with pytest.raises(ValueError, match="in no block") as caught:
        find_blocks([names[:700], names[701:]], 1500, names)
    assert len(str(caught.value)) < 300


def test_common_prefix_is_one_block():
    assert found("auto", 2, NAMES[:2]) == {"voice": [0, 1]}


def test_name_without_prefix_raises():
    names = np.array(["voice__a", "age", "codec__a"])
    with pytest.raises(ValueError, match="age has none"):
        find_blocks("auto", 3, names)


@pytest.mark.parametrize(
    "blocks",
    [
        [2, 3],
        (np.int64(2), 3),
        [slice(0, 2), slice(2, None)],
        [["voice__a", "voice__b"], ["codec__a", "voice__c", "codec__b__x"]],
        [slice(0, 2), NAMES[2:]],
    ],
    ids=["widths", "tuple", "slices", "names", "slice and names"],
)
def test_blocks_by_width_slice_and_name(blocks):
    assert found(blocks) == {"block0": [0, 1], "block1": [2, 3, 4]}


def test_a_dict_names_the_blocks_and_orders_their_columns():
    blocks = {"codec": ["codec__b__x", "codec__a"], "voice": slice(0, 4, 3), "b": slice(1, 2)}
    assert found(blocks) == {"codec": [4, 2], "voice": [0, 3], "b": [1]}


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([2, 2], r"blocks=\[2, 2\] add up to 4 columns, and X has 5"),
        ([2, 0, 3], "positive number of columns for block1"),
        ([-5, 10], "positive number of columns for block0"),
        ([True] * 5, "positive number of columns for block0, block1"),
        ([slice(0, 0), slice(0, 5)], "no columns for block0"),
        ([], r"blocks=\[\] add up to 0 columns"),
        ([slice(0, 2), slice(3, None)], "in no block: codec__a"),
        ([slice(0, 3), slice(2, None)], "in several: codec__a"),
        ([["voice__a", "other"], slice(1, None)], "columns that X does not have: other"),
        ([2, slice(2, None)], "must be 'auto', or contain only widths"),
        (["voice", "codec"], "must be 'auto', or contain only widths"),
    ],
)
def test_invalid_blocks(blocks, message):
    with pytest.raises(ValueError, match=message):
        find_blocks(blocks, 5, NAMES)


def test_names_of_columns_need_a_data_frame():
    with pytest.raises(ValueError, match="X has none: it is not a DataFrame"):
        find_blocks([["a"], ["b"]], 2)
