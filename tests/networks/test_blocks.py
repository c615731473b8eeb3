import pytest
import torch

from monch_monai.networks.blocks import conv_norm_act
from tests.fakes.network import noise


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 32), (128, 32), (64, 16), (32, 8), (24, 4), (12, 2), (6, 1), (7, 1)]
)
def test_groups_hold_at_least_four_channels_and_are_32_at_most(channels, groups):
    assert conv_norm_act(3, channels)[1].num_groups == groups


@pytest.mark.parametrize(("kernel_size", "stride", "size"), [(3, 1, (8, 6)), (1, 1, (8, 6)), (3, 2, (4, 3))])
def test_the_size_is_kept_or_divided_by_the_stride(kernel_size, stride, size):
    assert conv_norm_act(3, 8, kernel_size, stride)(noise(2, 3, 8, 6)).shape == (2, 8, *size)


def test_it_normalises_and_cuts_off_below_zero():
    block, x = conv_norm_act(3, 8), 100 * noise(2, 3, 8, 6)
    grouped = block[0](x).reshape(2, 2, -1)
    normalised = (grouped - grouped.mean(-1, keepdim=True)) / grouped.std(-1, keepdim=True, unbiased=False)
    assert (block(x) - normalised.reshape(2, 8, 8, 6).clamp(min=0)).abs().max() < 1e-4


def test_training_and_evaluation_agree():
    block, x = conv_norm_act(3, 8), noise(2, 3, 8, 6)
    assert torch.equal(block.train()(x), block.eval()(x))
