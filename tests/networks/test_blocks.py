import pytest

from monch_monai.networks.blocks import conv_norm_act
from tests.fakes.network import noise


@pytest.mark.parametrize(("kernel_size", "stride", "size"), [(3, 1, (8, 6)), (1, 1, (8, 6)), (3, 2, (4, 3))])
def test_the_size_is_kept_or_divided_by_the_stride(kernel_size, stride, size):
    assert conv_norm_act(3, 8, kernel_size, stride)(noise(2, 3, 8, 6)).shape == (2, 8, *size)


def test_it_normalises_by_batch_and_cuts_off_below_zero():
    block, x = conv_norm_act(3, 8), 100 * noise(2, 3, 8, 6)
    y = block[0](x)
    mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
    assert (block(x) - ((y - mean) / variance.sqrt()).clamp(min=0)).abs().max() < 1e-4


def test_a_level_survives_in_evaluation():
    block, x = conv_norm_act(3, 8).eval(), noise(1, 3, 8, 6)
    assert (block[:2](x + 1) - block[:2](x))[..., 1:-1, 1:-1].abs().max() > 0.1
