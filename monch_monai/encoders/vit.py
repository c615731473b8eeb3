"""Plain vision transformers: CLIP's, PLIP's, CONCH's, UNI's."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor

from monch_monai.encoders.clip_resnet import openai_clip
from monch_monai.encoders.image import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, ImageEncoder
from monch_monai.encoders.publication import Publication, formats
from monch_monai.encoders.text import ClipText, ConchText, TextEncoder

STRIDE = 16
TILE = 256
"""Side of a tile, px."""


class VisionTransformer(ImageEncoder):
    """A plain vision transformer (Dosovitskiy et al., 2021; built by timm); its last tokens are the middle map.

    A token sees 16 px of the image whatever the patch size is: for patches of p px the image is scaled by p / 16 first.
    A tile of 256 px becomes the 224 px that ViT-L/14 was trained on, and 512 px for ViT-B/32. So the published weights
    are used unchanged, and the rest of the network gets maps of one size. Position embeddings are interpolated to the
    image's size. With `tile_px` tokens are as coarse as the patches make them, and the map is enlarged to stride 16.

    Args:
        name: of the encoder.
        model: timm's name of the architecture.
        publication: its published weights.
        mean: of the images it was trained on.
        std: their standard deviation by channel.
        tile_px: side that a tile of 256 px is scaled to, such as the 224 px trained on; images of other sizes by the
            same factor, to whole patches. None lets each token see 16 px.
        sizes: of the architecture, where they are not the model's.
    """

    strides = (STRIDE,)

    def __init__(
        self,
        name: str,
        model: str,
        publication: Publication,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        tile_px: int | None = None,
        **sizes: Any,
    ) -> None:
        super().__init__()
        self.name, self.publication, self.mean, self.std = name, publication, mean, std
        self.trunk = timm.create_model(model, num_classes=0, dynamic_img_size=True, **sizes)
        self.tile_px = tile_px
        self.channels = (self.trunk.embed_dim,)
        self.matcher = self.trunk.group_matcher()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to `[B, C, H/16, W/16]`, one map."""
        height, width = image.shape[-2] // STRIDE, image.shape[-1] // STRIDE
        patch = self.trunk.patch_embed.patch_size[0]
        grid: tuple[int, ...] = (height, width)
        if self.tile_px is not None:
            grid = tuple(max(1, round(cells * STRIDE / TILE * self.tile_px / patch)) for cells in grid)
        size = tuple(cells * patch for cells in grid)
        if size != image.shape[-2:]:
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        tokens = self.trunk.forward_features(image)[:, self.trunk.num_prefix_tokens :]  # [B, cells, C]
        middle = tokens.mT.unflatten(2, grid)
        if grid != (height, width):
            middle = F.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)
        return (middle,)


def clip_vit(model: str = "ViT-B-16", **sizes: Any) -> VisionTransformer:
    """CLIP's ViT-B-16, ViT-L-14 or ViT-B-32, by open_clip's name of the model."""
    architecture = {
        "ViT-B-32": "vit_base_patch32_clip_quickgelu_224",
        "ViT-B-16": "vit_base_patch16_clip_quickgelu_224",
        "ViT-L-14": "vit_large_patch14_clip_quickgelu_224",
    }[model]
    publication = openai_clip(model, "open_clip_vit", "transformers_clip")
    return VisionTransformer(f"clip_{model.lower().replace('-', '_')}", architecture, publication, **sizes)


def plip(tile_px: int | None = None, **sizes: Any) -> VisionTransformer:
    """PLIP (Huang et al., 2023): CLIP's ViT-B/32, trained on with pathology images and their captions.

    With `tile_px`, see `VisionTransformer`, its name is `plip_224`, or of another size.
    """
    files, kinds = ("pytorch_model.bin", "model.safetensors"), formats("transformers_clip", "open_clip_vit")
    text = partial(ClipText, "ViT-B-32")
    publication = Publication("vinid/plip", files, kinds, licence="none stated", text=text)
    name = "plip" if tile_px is None else f"plip_{tile_px}"
    return VisionTransformer(name, "vit_base_patch32_clip_quickgelu_224", publication, tile_px=tile_px, **sizes)


def conch(**sizes: Any) -> VisionTransformer:
    """CONCH (Lu et al., 2024): ViT-B/16 and a text tower, trained on pathology images and their captions.

    Architecture and names are those of its source repository; not tested with the published file.
    """
    publication = _mahmood_lab("CONCH", "conch", text=ConchText)
    return VisionTransformer("conch", "vit_base_patch16_224", publication, **{"img_size": 448, **sizes})


def uni(**sizes: Any) -> VisionTransformer:
    """UNI (Chen et al., 2024): ViT-L/16, trained on pathology images alone."""
    publication = _mahmood_lab("UNI", "timm")
    sizes = {"init_values": 1e-5, **sizes}
    return VisionTransformer("uni", "vit_large_patch16_224", publication, IMAGENET_MEAN, IMAGENET_STD, **sizes)


def _mahmood_lab(name: str, kind: str, text: Callable[[], TextEncoder] | None = None) -> Publication:
    hub, licence = f"MahmoodLab/{name}", "CC BY-NC-ND 4.0"
    return Publication(hub, ("pytorch_model.bin",), formats(kind), licence, text, gated=True)
