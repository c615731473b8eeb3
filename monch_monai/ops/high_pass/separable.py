"""The high-pass filter without a transform: a box low-pass is separable, and of low rank.

Along an axis of n pixels the low-pass is the projection `U U^T` on the r waves below the cutoff, `U [n, r]`, about
`cutoff * n` of them. So the low part of a map is `U_y (U_y^T x U_x) U_x^T`: four matrix products with constant
matrices, which together cost less than two with the projections, since the map shrinks to `r x r` on the way.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from monch_monai.ops.high_pass.reference import share_of_nyquist


def low_waves(size: int, cutoff: float) -> Tensor:
    """Orthonormal waves below the cutoff: `[size, r]` float64, r = 0 for a cutoff of 0."""
    index = torch.arange(size, dtype=torch.float64)
    count = sum(2 * frequency / size < cutoff for frequency in range(size // 2 + 1))  # as `share_of_nyquist`
    if count == 0:
        return torch.zeros(size, 0, dtype=torch.float64)
    angle = 2 * math.pi / size * torch.outer(index, torch.arange(1, count, dtype=torch.float64))
    constant = torch.full((size, 1), size**-0.5, dtype=torch.float64)
    return torch.cat([constant, *(math.sqrt(2 / size) * wave for wave in (angle.cos(), angle.sin()))], dim=1)


def low_projection(size: int, cutoff: float) -> Tensor:
    """The projection on the waves below the cutoff, `U U^T [size, size]` float64.

    Entry (i, j) is the sum over the low frequencies f of `cos(2 pi f (i - j) / size) / size`, which needs no count of
    them: an exported graph can make it for maps of any size.
    """
    index = torch.arange(size, dtype=torch.float64)
    angle = 2 * math.pi / size * index[:, None] * index  # [size, size]
    low = (share_of_nyquist(size) < cutoff).double()
    cos, sin = angle.cos(), angle.sin()
    return ((cos * low) @ cos + (sin * low) @ sin) / size


def by_projections(x: Tensor, onto_y: Tensor, onto_x: Tensor, residual: bool) -> Tensor:
    """As `by_products`, with the projections of `low_projection`, which are symmetric: `[H, H]` and `[W, W]`."""
    low = F.linear(F.linear(x, onto_x).mT, onto_y).mT
    return (2 * x if residual else x) - low


def by_products(x: Tensor, waves_y: Tensor, waves_x: Tensor, residual: bool) -> Tensor:
    """`x - lowpass(x)` of `x [..., H, W]`, or `2 x - lowpass(x)` if residual, by waves `[H, r]` and `[W, s]`."""
    small = waves_y.mT @ (x @ waves_x)  # [..., r, s]
    low = waves_y @ (small @ waves_x.mT)  # [..., H, W]
    return (2 * x if residual else x) - low


def by_products_channels_last(x: Tensor, waves_y: Tensor, waves_x: Tensor, residual: bool) -> Tensor:
    """The same for `[B, C, H, W]` in channels-last memory, which the result has too: channels stay innermost."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    r = waves_y.shape[1]
    small = waves_x.mT @ (waves_y.mT @ rows).view(batch, r, width, channels)  # [B, r, s, C]
    low = (waves_x @ small).view(batch, r, width * channels)
    high = torch.baddbmm(rows, waves_y.expand(batch, -1, -1), low, beta=2 if residual else 1, alpha=-1)
    return high.view(batch, height, width, channels).permute(0, 3, 1, 2)
