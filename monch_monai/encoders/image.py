"""What the network asks of an image encoder."""

from collections.abc import Sequence

from open_clip.model import CLIP
from torch import Tensor, nn


class ImageEncoder(nn.Module):
    """An image encoder: a picture in, feature maps out, the last of which is the middle map.

    Attributes:
        name: what checkpoints call it.
        strides: pixels of the input per cell of each map, finest first.
        channels: channels of each map.
    """

    name: str
    strides: Sequence[int]
    channels: Sequence[int]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalised images `[B, 3, H, W]`, sizes multiples of the last stride, to maps `[B, channels, H/s, W/s]`."""
        raise NotImplementedError

    def load_clip(self, clip: CLIP) -> None:
        """Takes over the weights of the image tower of `clip`."""
        raise NotImplementedError
