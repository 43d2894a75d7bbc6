"""The precision of convolutions is always restored."""

import pytest
import torch

from sklearn_ser.nn import exact_convolutions


def test_precision_is_full_inside_and_restored():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with exact_convolutions():
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
    with pytest.raises(KeyError), exact_convolutions():
        raise KeyError
    assert convolutions.fp32_precision == before


def test_overlapping_threads_restore_the_setting():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    one, other = exact_convolutions(), exact_convolutions()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert convolutions.fp32_precision == "ieee"
    other.__exit__(None, None, None)
    assert convolutions.fp32_precision == before
