"""Networks for inference alone: fixed words, normalisation within convolutions, 1x1 convolutions as matrix products."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

AGREEMENT = 1e-4
"""Largest difference of a logit that fusing may make, as a share of the largest logit."""
SIDE = 128
"""Side of the image, px, by which a fused network is compared with its original where no other size is given."""


class PointwiseConv2d(nn.Module):
    """A 1x1 convolution as a matrix product over channels-last maps.

    PyTorch on one thread runs 1x1 convolutions by a slower way, and leaves channels-last for it.

    Args:
        layer: whose weights are used.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach().flatten(1).contiguous()), layer.bias

    def forward(self, image: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, H, W]`."""
        return F.linear(image.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


@torch.no_grad()
def fused(network: nn.Module, size: Sequence[int] = (SIDE, SIDE)) -> nn.Module:
    """A copy for inference on the CPU, whose logits are those of `network` in eval mode to `AGREEMENT`.

    Words are folded into the head (`Monch.folded`); batch normalisation that follows a convolution into the
    convolution's weights (`torch.nn.utils.fuse_conv_bn_eval`). Which normalisation follows which convolution is read
    from the order in which modules hold their layers. A network of another order is found by a comparison on noise, and
    keeps its normalisation. Instance normalisation stays: its statistics are the image's.

    Args:
        network: logits `[B, T, H, W]` for images `[B, 3, H, W]`.
        size: H, W of the image by which the two are compared.
    """
    folded = getattr(network, "folded", None)
    plain: nn.Module = copy.deepcopy(network) if folded is None else folded()
    plain = plain.eval().cpu().requires_grad_(False).to(memory_format=torch.channels_last)
    made = copy.deepcopy(plain)
    _fuse(made)
    _exchange_pointwise(made)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected, found = plain(image), made(image)
    same = (expected - found).abs().max() <= AGREEMENT * expected.abs().max().clamp(min=1)
    return made if same else plain


def _fuse(module: nn.Module) -> None:
    before: tuple[str, Any] = ("", None)
    for name, layer in list(module.named_children()):
        name_before, convolution = before
        if (
            isinstance(convolution, nn.Conv2d)
            and isinstance(layer, nn.BatchNorm2d)
            and layer.num_features == convolution.out_channels
        ):
            setattr(module, name_before, fuse_conv_bn_eval(convolution, layer))
            setattr(module, name, getattr(layer, "act", nn.Identity()))  # timm's normalisation includes it
        else:
            _fuse(layer)
        before = name, layer


def _exchange_pointwise(module: nn.Module) -> None:
    for name, layer in list(module.named_children()):
        if type(layer) is nn.Conv2d and _is_pointwise(layer):
            setattr(module, name, PointwiseConv2d(layer))
        else:
            _exchange_pointwise(layer)


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((1, 1), (1, 1), (0, 0), 1)
