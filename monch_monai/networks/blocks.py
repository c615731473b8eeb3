"""The convolution block of the network's own parts, and how its maps are joined and resized."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (divided by `stride`), batch normalisation, ReLU.

    Batch normalisation keeps the mean level of a map, by which a tile full of nuclei differs from one without any;
    group normalisation removes that level tile by tile. On the sample batch normalisation learned faster.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Maps `[B, c, H, W]`, concatenated along channels; all are resized to the first, which is the finest."""
    first, *coarser = maps
    size = first.shape[-2:]
    up = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in coarser]
    return torch.cat([first, *up], dim=1) if up else first


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """`[..., H, W]` cropped to `[..., height, width]`, or its last row and column repeated up to there.

    By index, so that a graph made for all sizes need not distinguish the two cases.
    """
    for dim, size in ((-2, height), (-1, width)):
        x = x.index_select(dim, torch.arange(size, device=x.device).clamp(max=x.shape[dim] - 1))
    return x
