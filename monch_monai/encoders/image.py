"""The interface of image encoders."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monch_monai.encoders.publication import Publication

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, of values in [0, 1]."""
FIXED_STATISTICS = "fixed_statistics"
"""Name of the bool buffer in which an encoder stores whether its batch normalisation keeps its statistics."""


class ImageEncoder(nn.Module):
    """An image encoder: an image in, feature maps out, the last of which is the middle map.

    Attributes:
        name: its name in checkpoints, and that of its overlay in `bundle/configs/encoders/`.
        strides: pixels of the input per cell of each map, finest first.
        channels: channels of each map.
        mean: of the images it was trained on, by channel, of values in [0, 1].
        std: their standard deviation by channel.
        multiple: heights and widths must be multiples of this many pixels.
        publication: its published weights.
        trunk: its layers.
        matcher: patterns of the names of the trunk's parameters, by layer, in timm's format.
        instance_norm: bool buffer of encoders that have batch normalisation: whether it was exchanged.
        fixed_statistics: bool buffer of the same encoders: whether their running statistics stay as they are.
    """

    name: str
    strides: Sequence[int]
    channels: Sequence[int]
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD
    multiple: int = 16
    publication: Publication
    trunk: Any
    matcher: Mapping[str, Any]
    frozen = False

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalised images `[B, 3, H, W]`, sizes multiples of `multiple`, to maps `[B, channels, H/s, W/s]`."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Keeps the weights and the running statistics of the normalisation unchanged, in training too."""
        self.requires_grad_(False)
        self.frozen = True
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of training; a frozen encoder stays in eval mode, and so do layers with fixed statistics."""
        super().train(mode and not self.frozen)
        if getattr(self, FIXED_STATISTICS, False):
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def layers(self) -> dict[str, int]:
        """Layer of each parameter by its name, counted from 0 at the image; parts after the trunk count as its last."""
        trunk: dict[str, int] = group_parameters(self.trunk, dict(self.matcher), reverse=True)
        return {
            name: trunk.get(name.removeprefix("trunk."), max(trunk.values())) for name, _ in self.named_parameters()
        }
