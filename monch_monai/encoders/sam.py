"""The image encoders of Segment Anything and Segment Anything 2."""

from functools import partial
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.encoders.image import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder
from monch_monai.encoders.publication import Publication, formats


class Sam(ImageEncoder):
    """SAM's image encoder, a ViT with windowed attention and a neck (Kirillov et al., 2023; built by timm).

    Position embeddings, absolute and relative, are interpolated from its 1024 px to the image's size.

    Args:
        size: b, l or h.
        sizes: of the architecture, where they are not the model's.
    """

    strides = (16,)
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, size: str = "b", **sizes: Any) -> None:
        super().__init__()
        word = {"b": "base", "l": "large", "h": "huge"}[size]
        self.name = f"sam_{size}"
        files, kinds = ("model.safetensors", "pytorch_model.bin"), formats("meta_sam", "transformers_sam", "timm")
        self.publication = Publication(f"facebook/sam-vit-{word}", files, kinds, licence="Apache-2.0")
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.trunk = timm.create_model(f"samvit_{word}_patch16", num_classes=0, norm_layer=norm, **sizes)
        self.channels = (self.trunk.num_features,)
        self.matcher = self.trunk.group_matcher()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to `[B, 256, H/16, W/16]`, one map."""
        return (self.trunk.forward_features(image),)


class Sam2(ImageEncoder):
    """SAM 2.1's image encoder: Hiera and a feature pyramid (Ravi et al., 2024; trunk built by timm).

    The map of stride 32 is added to that of stride 16, as published; the two finer maps are returned unchanged.

    Args:
        size: tiny, small, base_plus or large.
        channels: of each map.
        sizes: of the trunk, where they are not the model's.
    """

    strides = (4, 8, 16)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    multiple = 32  # the trunk halves four times from stride 4 on, and tiles its position embedding by 8 cells there

    def __init__(self, size: str = "tiny", channels: int = 256, **sizes: Any) -> None:
        super().__init__()
        self.name = f"sam2_{size}"
        hub, file = f"facebook/sam2.1-hiera-{size.replace('_', '-')}", f"sam2.1_hiera_{size}.pt"
        self.publication = Publication(hub, (file,), formats("meta_sam2"), licence="Apache-2.0")
        self.trunk = timm.create_model(f"sam2_hiera_{size}", num_classes=0, **sizes)
        self.trunk.head = nn.Identity()
        widths = [stage["num_chs"] for stage in self.trunk.feature_info]
        self.neck = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in reversed(widths))  # coarsest first
        self.channels = (channels, channels, channels)
        self.matcher = self.trunk.group_matcher()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to `[B, 256, H/4, W/4]`, `[B, 256, H/8, W/8]`, `[B, 256, H/16, W/16]`."""
        stages = self.trunk.forward_intermediates(image, intermediates_only=True)
        stride_32, stride_16, stride_8, stride_4 = (n(s) for n, s in zip(self.neck, reversed(stages), strict=True))
        return stride_4, stride_8, stride_16 + F.interpolate(stride_32, scale_factor=2.0, mode="nearest")
