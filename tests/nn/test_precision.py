"""The precision of convolutions is put back, whatever happens."""

import pytest
import torch

from sklearn_ser.nn import exact_convolutions


def test_precision_is_full_inside_and_put_back():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with exact_convolutions():
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
    with pytest.raises(KeyError), exact_convolutions():
        raise KeyError
    assert convolutions.fp32_precision == before
