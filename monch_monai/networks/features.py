"""MGFE: the multi-grained feature extraction block and the two scales it works on."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.networks.blocks import conv_norm_act
from monch_monai.networks.frequency import HighFrequency
from monch_monai.networks.graph import Topology


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
        fine = F.interpolate(self.up(middle), scale_factor=2.0, mode="bilinear", align_corners=False)
        return Scales(fine, middle, self.down(middle))


class MultiGrainedFeatures(nn.Module):
    """High-frequency, convolutional and topological features of the three scales (Fig. 1, section 3.2).

    Args:
        channels: C.
        high_pass: False replaces the high-frequency module by a convolution (Table 4).
        topology: False replaces the topological module by a convolution (Table 4).
        cutoff: of the high-pass filter, a share of the spectrum.
        k: neighbours of a node of the graph.
        dilation: of the graph.
    """

    def __init__(self, channels: int, high_pass: bool, topology: bool, cutoff: float, k: int, dilation: int) -> None:
        super().__init__()
        self.high = HighFrequency(cutoff) if high_pass else conv_norm_act(channels, channels)
        self.conv = conv_norm_act(channels, channels)
        self.topo = Topology(channels, k, dilation) if topology else conv_norm_act(channels, channels)

    def forward(self, scales: Scales) -> Scales:
        """`F^h, F^v, F^t`, of the shapes of `fine, middle, coarse`."""
        return Scales(self.high(scales.fine), self.conv(scales.middle), self.topo(scales.coarse))
