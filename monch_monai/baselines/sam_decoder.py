"""Segment Anything (Kirillov et al., ICCV 2023) with its mask decoder and no prompt, a map for each class.

From the paper and its published weights' names; no code of its authors' is used. The image encoder is timm's, the
two-way transformer MONAI's.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets.vista3d import TwoWayTransformer
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from monch_monai.class_table import ClassTable
from monch_monai.encoders import PublishedStart, Sam, formats
from monch_monai.networks.recorded import RecordedNetwork
from monch_monai.settings import multiple, word

PATCH = 16
"""Side of SAM's patches, px."""
SHARED_STEPS = 4
"""Steps of growth that a SAM file has weights for: transposed convolution, norm, activation, transposed convolution."""


class NoPrompt(nn.Module):
    """What SAM's prompt encoder gives where there is no prompt.

    Args:
        channels: C.

    Attributes:
        frequencies: Gaussian matrix `[2, C/2]` of the position encoding, by x and y.
        no_mask: stands in place of an earlier mask at all cells.
    """

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, channels // 2))
        self.no_mask = nn.Embedding(1, channels)

    def positions(self, height: int, width: int) -> Tensor:
        """Random Fourier features of the cells' centres, `[C, H, W]` (Tancik et al., 2020): all sines, then cosines."""
        device = self.frequencies.device
        x, y = (2 * (torch.arange(n, device=device) + 0.5) / n - 1 for n in (width, height))
        along_x, along_y = self.frequencies[:, :, None, None]
        angles = 2 * math.pi * (along_x * x + along_y * y[:, None])  # no matrix product: amp would round it
        return torch.cat([angles.sin(), angles.cos()])


class SamMaskDecoder(nn.Module):
    """SAM's mask decoder: tokens and image attend to each other; each mask's token makes a kernel for the grown image.

    LayerNorms of the two-way transformer add 1e-5 to the variance, as in the published network.

    Args:
        masks: M.
        channels: C, of the image encoder's map.
        widths: channels after each transposed convolution, which doubles height and width; SAM's are C/4 and C/8.
    """

    def __init__(self, masks: int, channels: int = 256, widths: Sequence[int] = (64, 32)) -> None:
        super().__init__()
        self.prompt = NoPrompt(channels)
        self.iou_token, self.mask_tokens = nn.Embedding(1, channels), nn.Embedding(masks, channels)
        self.transformer = TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=2048)
        steps: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths, strict=False):
            steps += [nn.ConvTranspose2d(before, after, 2, stride=2), LayerNorm2d(after), nn.GELU()]
        del steps[-2]  # no norm before the last activation
        self.upscale = nn.Sequential(*steps)
        self.hypernetworks = nn.ModuleList(_three_layers(channels, widths[-1]) for _ in range(masks))
        self.iou_head = _three_layers(channels, masks)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Masks `[B, M, H', W']` and the IoU expected of each, `[B, M]`, of the encoder's map `[B, C, H, W]`.

        H' and W' are H and W times two to the number of `widths`.
        """
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(embedding), -1, -1)
        positions = self.prompt.positions(*embedding.shape[2:])[None]
        image = embedding + self.prompt.no_mask.weight[:, :, None, None]
        tokens, attended = self.transformer(image, positions, tokens)
        grown = self.upscale(attended.mT.unflatten(2, embedding.shape[2:]))
        of_iou, *of_masks = tokens.unbind(1)
        kernels = [kernel(token) for kernel, token in zip(self.hypernetworks, of_masks, strict=True)]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(kernels, dim=1), grown)
        return masks, self.iou_head(of_iou)

    def published_part(self) -> nn.ModuleDict:
        """The modules that a SAM file has the weights of, whatever the number of masks and of `widths`."""
        return nn.ModuleDict(
            {
                "prompt": self.prompt,
                "iou_token": self.iou_token,
                "transformer": self.transformer,
                "upscale": self.upscale[:SHARED_STEPS],
            }
        )


class AdaptedSam(RecordedNetwork):
    """SAM whose image encoder stays as published while adapters, which subclasses hook into its blocks, are trained.

    The encoder is frozen weight by weight and stays in training mode. What depends on the number of masks (their
    tokens, their hypernetworks, the IoU head) starts random, all else of SAM from its published file.

    Args:
        class_table: T classes, background included.
        size: of SAM: b, l or h.
        image_size: longer side of what the encoder sees, px; images are resized to it, and the maps back.
        masks: M.
        shares: channels of the decoder's steps of growth, each C divided by one of these.
        sizes: of the encoder's architecture, where they are not the model's.

    Raises:
        InputError: `size` is none of the three, or `image_size` no multiple of 16.
    """

    def __init__(
        self,
        class_table: ClassTable,
        size: str,
        image_size: int,
        masks: int,
        shares: Sequence[int] = (4, 8),
        **sizes: Any,
    ) -> None:
        super().__init__(class_table)
        self.image_size = multiple("image_size", image_size, of=PATCH)
        self.encoder = Sam(word("size", size, ("b", "l", "h")), **sizes)
        self.encoder.requires_grad_(False)
        (channels,) = self.encoder.channels
        self.decoder = SamMaskDecoder(masks, channels, [channels // share for share in shares])

    def masks(self, image: Tensor) -> Tensor:
        """Logits of all masks `[B, M, H, W]` of images `[B, 3, H, W]`, normalised.

        The IoU head has no truth to learn from. In training, zero times its output is added, so that every parameter
        has a gradient, which training on several GPUs asks for.
        """
        height, width = image.shape[-2:]
        scale = self.image_size / max(height, width) / PATCH
        seen = tuple(PATCH * max(1, round(scale * side)) for side in (height, width))
        (embedding,) = self.encoder(_resized(image, seen))
        masks, expected_iou = self.decoder(embedding)
        masks = _resized(masks, (height, width))
        return masks + 0 * expected_iou.sum() if self.training else masks

    def published_start(self) -> PublishedStart:
        """The image encoder and the decoder's parts that start from SAM's file, Meta's own or transformers'."""
        publication = replace(self.encoder.publication, formats=formats("meta_sam", "transformers_sam"))
        towers = {"image": self.encoder, "decoder": self.decoder.published_part()}
        return PublishedStart(self.encoder.name, publication, towers)


def _three_layers(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, out)
    )


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)
