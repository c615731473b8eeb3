"""MGFE: the multi-grained feature extraction block, the three scales it works on, and their fusion."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.networks.blocks import conv_norm_act
from monch_monai.ops import high_pass, knn, max_relative


class Scales(NamedTuple):
    """Three maps of C channels at twice, once and half the middle resolution, Eq. (1)."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor


class Rescale(nn.Module):
    """The up- and the downscale block: `F^f = G_us(F^m)`, `F^c = G_ds(F^m)`, Eq. (1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = conv_norm_act(channels, channels)
        self.down = conv_norm_act(channels, channels, stride=2)

    def forward(self, middle: Tensor) -> Scales:
        """`[B, C, H, W]` (even sizes) to `[B, C, 2H, 2W]`, `[B, C, H, W]`, `[B, C, H/2, W/2]`."""
        return Scales(_double(self.up(middle)), middle, self.down(middle))


class HighFrequency(nn.Module):
    """HF2EM, the high-frequency feature of the fine map: its high-pass part added to itself, Eqs. (2)-(4).

    Args:
        cutoff: share of each frequency axis that counts as low, in [0, 1]; see `monch_monai.ops.high_pass`.
        shape: of what counts as low, `box` or `circle`.
    """

    def __init__(self, cutoff: float = 0.25, shape: str = "box") -> None:
        super().__init__()
        self.cutoff, self.shape = cutoff, shape

    def extra_repr(self) -> str:
        """Settings that shapes of parameters do not show."""
        return f"cutoff={self.cutoff}, shape={self.shape!r}"

    def forward(self, fine: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H, W]`."""
        return high_pass(fine, self.cutoff, self.shape, residual=True)


class Topology(nn.Module):
    """TSEM, the topological feature of the coarse map: each cell beside its nearest look-alikes, Eqs. (5)-(6).

    The map is normalised and reduced to C/2, and its nodes are joined to their dilated k nearest neighbours. In each
    channel the largest difference to a neighbour is taken (max-relative aggregation, the graph layer of Vision GNN).
    Node and difference together are brought back to C and added to the map.

    Args:
        channels: C, even.
        k: neighbours of a node.
        dilation: step through the sorted neighbours. The paper names dilation without its value: here 2.
    """

    def __init__(self, channels: int, k: int = 9, dilation: int = 2) -> None:
        super().__init__()
        self.k, self.dilation = k, dilation
        self.reduce = conv_norm_act(channels, channels // 2, kernel_size=1)
        self.expand = conv_norm_act(channels, channels, kernel_size=1)

    def extra_repr(self) -> str:
        """Settings that shapes of parameters do not show."""
        return f"k={self.k}, dilation={self.dilation}"

    def forward(self, coarse: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H, W]`; `H * W` must be at least `k * dilation`."""
        nodes = self.reduce(coarse).flatten(2).mT  # [B, N, C/2]
        neighbours = knn(nodes, self.k, self.dilation)  # [B, N, K]
        relative = max_relative(nodes, neighbours)  # [B, N, C/2]
        graph = torch.cat([nodes, relative], dim=-1).mT.unflatten(2, coarse.shape[-2:])  # [B, C, H, W]
        topo: Tensor = self.expand(graph) + coarse
        return topo


class MultiGrainedFeatures(nn.Module):
    """High-frequency, convolutional and topological features of the three scales (Fig. 1, section 3.2).

    Where `high_pass` or `topology` is False, a convolution replaces the module (Table 4); `cutoff` is that of
    `HighFrequency`, `k` and `dilation` are those of `Topology`.
    """

    def __init__(self, channels: int, high_pass: bool, topology: bool, cutoff: float, k: int, dilation: int) -> None:
        super().__init__()
        self.high = HighFrequency(cutoff) if high_pass else conv_norm_act(channels, channels)
        self.conv = conv_norm_act(channels, channels)
        self.topo = Topology(channels, k, dilation) if topology else conv_norm_act(channels, channels)

    def forward(self, scales: Scales) -> Scales:
        """`F^h, F^v, F^t`, of the shapes of `fine, middle, coarse`."""
        return Scales(self.high(scales.fine), self.conv(scales.middle), self.topo(scales.coarse))


class Fusion(nn.Module):
    """The blended feature: lateral 1x1 convolutions, summed from coarse to fine, and a 3x3 convolution (Fig. 1).

    Follows the feature pyramid network (Lin et al., 2017); its finest level is the one that is kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(channels, channels, 1)
        self.middle = nn.Conv2d(channels, channels, 1)
        self.coarse = nn.Conv2d(channels, channels, 1)
        self.smooth = conv_norm_act(channels, channels)

    def forward(self, scales: Scales) -> Tensor:
        """Maps of `[B, C, 2H, 2W]`, `[B, C, H, W]`, `[B, C, H/2, W/2]` to one `[B, C, 2H, 2W]`."""
        blend = self.middle(scales.middle) + _double(self.coarse(scales.coarse))
        blend = self.fine(scales.fine) + _double(blend)
        smooth: Tensor = self.smooth(blend)
        return smooth


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
