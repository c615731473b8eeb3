"""TSFD-Net's network: EfficientNet-B4 of colours and stains, a pyramid fused both ways, two decoders, a tissue head."""

from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.errors import InputError
from monch_monai.networks.recorded import RecordedNetwork
from monch_monai.tissues import TISSUES

HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Optical density of the stains by red, green and blue (Ruifrok and Johnston, 2001)."""
STAGES = (1, 2, 3, 4, 5)
"""timm's stages whose ends are the levels P2 to P6; P7 is the top activation."""
MULTIPLE = 16


class TsfdNet(RecordedNetwork):
    """TSFD-Net (Ilyas et al., Neural Networks 2022), with its three outputs in one tensor.

    An image is doubled in size. Six maps of EfficientNet-B4 are brought to C channels, fused top-down and bottom-up
    three times as in EfficientDet's BiFPN, and read by two decoders: of classes, and of nuclei's boundaries. With
    six classes it has 21,959,455 trained parameters, the published number.

    Deviation: maps of another size are resampled bilinearly where they grow, and by their maximum where they shrink;
    published facts do not state how. `baselines/tsfd.json` keeps the project's tiles, augmentation, batch and epochs
    beside the published optimiser, rate, warm-up and cosine, which were chosen for 150 epochs.

    Args:
        class_table: T classes.
        channels: C.
        rounds: of fusion.
        dropout: of whole maps, in gates and the pyramid.
    """

    def __init__(
        self, class_table: ClassTable = PANNUKE, channels: int = 160, rounds: int = 3, dropout: float = 0.2
    ) -> None:
        super().__init__(class_table)
        self.trunk = timm.create_model("tf_efficientnet_b4", num_classes=0, in_chans=6, drop_path_rate=0.2)
        widths = [self.trunk.blocks[number][-1].conv_pwl.out_channels for number in STAGES]
        self.gates = nn.ModuleList(Gate(n, channels, dropout) for n in (*widths, self.trunk.num_features))
        self.pyramid = nn.ModuleList(BothWays(len(self.gates), channels, dropout) for _ in range(rounds))
        steps = range(len(self.gates) - 1)
        self.classes = nn.ModuleList(Fusion(2, channels) for _ in steps)
        self.boundary = nn.ModuleList(Fusion(2 if n == 0 else 3, channels) for n in steps)
        self.class_head, self.boundary_head = Doubled(channels, len(class_table)), Doubled(channels, 1)
        self.tissue_head = nn.Sequential(nn.Dropout(0.3), nn.Linear(channels, len(TISSUES)))
        other = torch.linalg.cross(torch.tensor(HAEMATOXYLIN), torch.tensor(EOSIN))
        stains = F.normalize(torch.stack([torch.tensor(HAEMATOXYLIN), torch.tensor(EOSIN), other]), dim=1)
        self.register_buffer("unmix", torch.linalg.inv(stains).T.contiguous(), persistent=False)  # [stain, colour]

    def forward(self, image: Tensor) -> Tensor:
        """Maps `[B, T + 1 + 19, H, W]` of images `[B, 3, H, W]` with values in [0, 1].

        First the classes' logits, of a softmax; then the boundary's logit; then those of the tissues, of a softmax,
        each the same at all pixels.

        Raises:
            InputError: H or W is no multiple of 16.
        """
        height, width = image.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise InputError(f"TSFD-Net takes images of multiples of {MULTIPLE} px; this is {width}x{height}")
        both = torch.cat([image, self.stains(image)], dim=1)
        doubled = F.interpolate(both, scale_factor=2.0, mode="bilinear", align_corners=False)
        levels = [gate(level) for gate, level in zip(self.gates, self.levels(doubled), strict=True)]
        tissue = self.tissue_head(levels[-1].mean(dim=(2, 3)))
        for fused in self.pyramid:
            levels = fused(levels)
        classes = [levels[-1]]
        for fusion, level in zip(self.classes, reversed(levels[:-1]), strict=True):
            classes.append(fusion(level, classes[-1]))
        boundary = self.boundary[0](levels[-1], classes[1], size=classes[1].shape[-2:])
        for fusion, level, of_classes in zip(self.boundary[1:], reversed(levels[1:-1]), classes[2:], strict=True):
            boundary = fusion(level, boundary, of_classes, size=of_classes.shape[-2:])
        spread = tissue[:, :, None, None].expand(-1, -1, height, width)
        return torch.cat([self.class_head(classes[-1]), self.boundary_head(boundary), spread], dim=1)

    def stains(self, image: Tensor) -> Tensor:
        """Amounts of haematoxylin, eosin and the rest, `[B, 3, H, W]`, each from 1 (least of the image) to 0 (most)."""
        density = -torch.log(image.float().clamp(min=1 / 255))
        amounts = torch.einsum("sc,bchw->bshw", self.unmix, density)
        least, most = (f(amounts, dim=(2, 3), keepdim=True) for f in (torch.amin, torch.amax))
        return (1 - (amounts - least) / (most - least).clamp(min=1e-6)).to(image.dtype)

    def levels(self, image: Tensor) -> list[Tensor]:
        """Six maps of EfficientNet-B4, at strides 4, 8, 16, 16, 32 and 32."""
        x, found = self.trunk.bn1(self.trunk.conv_stem(image)), []
        for number, stage in enumerate(self.trunk.blocks):
            x = stage(x)
            if number in STAGES:
                found.append(x)
        return [*found, self.trunk.bn2(self.trunk.conv_head(x))]


class Gate(nn.Sequential):
    """A level of `channels` to that of the pyramid: convolution, normalisation, swish, dropout of whole maps."""

    def __init__(self, channels: int, out_channels: int, dropout: float) -> None:
        convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
        super().__init__(convolution, nn.BatchNorm2d(out_channels), nn.SiLU(), nn.Dropout2d(dropout))


class Fusion(nn.Module):
    """The sum of several maps, each filtered and weighted by channel, filtered again.

    Args:
        inputs: number of maps.
        channels: of each.
        dropout: of whole maps.
    """

    def __init__(self, inputs: int, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.filters = nn.ModuleList(Filter(channels) for _ in range(inputs))
        self.weights = nn.ModuleList(SqueezeExcite(channels) for _ in range(inputs))
        self.last = nn.Sequential(Filter(channels), nn.Dropout2d(dropout))

    def forward(self, *maps: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """`[B, C, h, w]` of any sizes to `[B, C, *size]`, by default the first map's size."""
        to = tuple(maps[0].shape[-2:] if size is None else size)
        parts = [w(f(resampled(m, to))) for m, f, w in zip(maps, self.filters, self.weights, strict=True)]
        fused: Tensor = self.last(torch.stack(parts).sum(dim=0))
        return fused


class Filter(nn.Sequential):
    """A convolution of each channel by itself, normalisation, swish."""

    def __init__(self, channels: int) -> None:
        convolution = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        super().__init__(convolution, nn.BatchNorm2d(channels), nn.SiLU())


class SqueezeExcite(nn.Module):
    """Weights of channels by their means (Hu et al., 2018), through an eighth of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 8), nn.SiLU(), nn.Linear(channels // 8, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` to the same shape."""
        weighted: Tensor = x * self.weigh(x.mean(dim=(2, 3)))[:, :, None, None]
        return weighted


class BothWays(nn.Module):
    """A round of BiFPN (Tan et al., 2020), finest level first: top-down, then bottom-up with what came in."""

    def __init__(self, levels: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.down = nn.ModuleList(Fusion(2, channels, dropout) for _ in range(levels - 1))
        self.up = nn.ModuleList(Fusion(3, channels, dropout) for _ in range(levels - 2))
        self.top = Fusion(2, channels, dropout)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Maps of the same shapes."""
        downward = [levels[-1]]
        for fusion, level in zip(self.down, reversed(levels[:-1]), strict=True):
            downward.append(fusion(level, downward[-1]))
        between = downward[::-1]
        upward = [between[0]]
        for fusion, level, met in zip(self.up, levels[1:-1], between[1:-1], strict=True):
            upward.append(fusion(level, met, upward[-1]))
        return [*upward, self.top(levels[-1], upward[-1])]


class Doubled(nn.Module):
    """A decoder's last map at twice its size, of `out_channels`."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.learned = nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.last = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` to `[B, D, 2h, 2w]`."""
        larger = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        logits: Tensor = self.last(F.silu(self.smooth(larger) + self.learned(x)))
        return logits


def resampled(x: Tensor, size: Sequence[int]) -> Tensor:
    """A map `[B, C, h, w]` at another size, `[B, C, *size]`: bilinear where larger, the maximum where smaller."""
    if x.shape[-2:] == tuple(size):
        return x
    if x.shape[-1] > size[-1]:
        return F.adaptive_max_pool2d(x, list(size))
    return F.interpolate(x, list(size), mode="bilinear", align_corners=False)
