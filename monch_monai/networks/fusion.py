"""FPN-like fusion of three scales into one."""

import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.networks.blocks import conv_norm_act
from monch_monai.networks.features import Scales


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
