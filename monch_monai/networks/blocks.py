"""The one convolution block of the network's own parts."""

from torch import nn


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (divided by `stride`), group normalisation, ReLU.

    Group normalisation does not depend on the batch, so training and evaluation agree also at the batch sizes of a
    CPU. Groups hold at least 4 channels, 32 groups at most.
    """
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if out_channels % g == 0 and (out_channels // g >= 4 or g == 1))
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.GroupNorm(groups, out_channels),
        nn.ReLU(inplace=True),
    )
