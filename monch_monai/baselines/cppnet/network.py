"""CPP-Net's network: a ResNet-50, two decoders, rays of a polygon at each pixel, and their refinement."""

import math
from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.encoders import Format, Publication, PublishedStart
from monch_monai.errors import InputError
from monch_monai.networks.recorded import RecordedNetwork

RAYS = 32
"""Rays of a polygon, ray k at the angle `2 pi k / 32` from the x axis (columns) towards the y axis (rows)."""
POINTS = 6
"""Points of a ray beside the pixel itself, at equal steps, at which the refinement samples."""
MULTIPLE = 16


class CppNet(RecordedNetwork):
    """CPP-Net (Chen et al., IEEE TIP 2023), with its outputs in one tensor.

    A pixel's polygon is given by its distances along 32 rays. Points inside the polygon predict the same outline; their
    predictions, weighted by confidences, refine the pixel's own. With six classes and ResNet-50 it has 123,228,351
    parameters, the published number.

    Deviation: the refinement samples at its own distances from the first epoch on, where the authors' uses the true
    ones for five epochs. It samples in coordinates of aligned corners, where theirs mixes two conventions.
    `baselines/cppnet.json` keeps the project's tiles, augmentation, batch, epochs and schedule beside the published
    optimiser, rate and decay; the authors' rate is halved where ten epochs bring nothing.

    Args:
        class_table: T classes.
        model: timm's name of a ResNet.
        widths: channels of the decoders' steps, coarsest first.
        ray_channels: channels before the rays.
    """

    def __init__(
        self,
        class_table: ClassTable = PANNUKE,
        model: str = "resnet50",
        widths: Sequence[int] = (1024, 512, 256),
        ray_channels: int = 256,
    ) -> None:
        super().__init__(class_table)
        self.model = model
        self.trunk = timm.create_model(model, num_classes=0, global_pool="")
        self.trunk.maxpool = nn.Identity()  # strides 2, 4, 8 and 16
        channels = [stage["num_chs"] for stage in self.trunk.feature_info[1:]]
        self.of_rays, self.of_classes = Decoder(channels, widths), Decoder(channels, widths)
        self.features = nn.Sequential(nn.Conv2d(widths[-1], ray_channels, 3, padding=1), nn.ELU())
        self.probability = nn.Conv2d(ray_channels, 1, 1)
        self.distances = nn.Conv2d(ray_channels, RAYS, 1)
        self.confidences = nn.Conv2d(ray_channels, RAYS, 1)
        self.classes = nn.Conv2d(widths[-1], len(class_table), 1)
        self.refinement = Refinement()

    def published_start(self) -> PublishedStart:
        """The ResNet, whose weights of ImageNet are torchvision's, on the hub as timm's."""
        kind = Format("a timm or torchvision file of a ResNet", {r"^image\.": ""}, unused=r"fc\.")
        hub, files = f"timm/{self.model}.tv_in1k", ("model.safetensors", "pytorch_model.bin")
        return PublishedStart(
            self.model, Publication(hub, files, (kind,), licence="BSD-3-Clause"), {"image": self.trunk}
        )

    def forward(self, image: Tensor) -> Tensor:
        """Maps `[B, 1 + 32 + 32 + T, H, W]` of images `[B, 3, H, W]`, each normalised by its own colours.

        First the logit of a pixel's probability to be a centre, then the coarse and the refined distances, px, then the
        classes' logits, of a softmax.

        Raises:
            InputError: H or W is no multiple of 16.
        """
        height, width = image.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise InputError(f"CPP-Net takes images of multiples of {MULTIPLE} px; this is {width}x{height}")
        deviation, mean = torch.std_mean(image, dim=(2, 3), keepdim=True)
        maps = self.maps((image - mean) / deviation.clamp(min=1e-3))
        of_rays = self.features(self.of_rays(maps))
        with torch.autocast(image.device.type, enabled=False):  # bfloat16 has steps of half a pixel at 64 px
            exact = of_rays.float()
            coarse = self.distances(exact)
            refined = self.refinement(coarse, self.confidences(exact))
            rays = torch.cat([self.probability(exact), coarse, refined], dim=1)
        classes = self.classes(self.of_classes(maps))
        return torch.cat([rays, classes.float()], dim=1)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Maps of the ResNet's four stages, at strides 2, 4, 8 and 16."""
        x, found = self.trunk.act1(self.trunk.bn1(self.trunk.conv1(image))), []
        for stage in (self.trunk.layer1, self.trunk.layer2, self.trunk.layer3, self.trunk.layer4):
            x = stage(x)
            found.append(x)
        return found


class Decoder(nn.Module):
    """A U-Net's decoder (Ronneberger et al., 2015), with group normalisation and ELU.

    Args:
        channels: of the maps, finest first.
        widths: channels of the steps, coarsest first.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        coming = (channels[-1], *widths[:-1])
        skipped = channels[-2::-1]
        self.steps = nn.ModuleList(
            nn.Sequential(*convolution(below + skip, width), *convolution(width, width))
            for below, skip, width in zip(coming, skipped, widths, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 2, 4, 8 and 16 to one `[B, widths[-1], H, W]` of the image's size."""
        x = maps[-1]
        for step, skip in zip(self.steps, maps[-2::-1], strict=True):
            x = step(torch.cat([doubled(x), skip], dim=1))
        return doubled(x)


class Refinement(nn.Module):
    """Refined distances: the mean of a ray's proposals, weighted by their confidences."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(POINTS + 1, POINTS + 1, 1)
        nn.init.ones_(self.weigh.bias)  # type: ignore[arg-type]

    def forward(self, distances: Tensor, confidences: Tensor) -> Tensor:
        """Distances and confidences, both `[B, 32, H, W]`, to refined distances of that shape, at least 0."""
        proposed, trusted = proposals(distances, confidences)
        weights = self.weigh(trusted).softmax(dim=1)
        return F.relu((weights * proposed).sum(dim=1)).reshape(distances.shape)


def proposals(distances: Tensor, confidences: Tensor) -> tuple[Tensor, Tensor]:
    """What the pixel and six points of each ray propose as the ray's length, and how sure they are.

    The point of the share f = 1/6, ..., 1 lies `(d - 1) f` px from the pixel, where d is its distance: within its own
    polygon. The length it proposes is its own distance along the same ray plus those px. Nearest pixels are sampled.

    Args:
        distances: `[B, 32, H, W]`, px.
        confidences: `[B, 32, H, W]`.

    Returns:
        Proposed lengths and their confidences, `[B * 32, 7, H, W]`, the pixel's own first.
    """
    height, width = distances.shape[-2:]
    angle = torch.arange(distances.shape[1], device=distances.device) * (2 * math.pi / distances.shape[1])
    steps = torch.stack([angle.cos(), angle.sin()], dim=1).repeat(len(distances), 1)[:, None, None]  # [B * 32, 1, 1, 2]
    rows, columns = (torch.arange(n, device=distances.device, dtype=distances.dtype) for n in (height, width))
    here = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # [H, W, 2], x and y
    last = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=distances.device)
    both = torch.stack([distances.flatten(0, 1), confidences.flatten(0, 1)], dim=1)
    reach = (both[:, 0] - 1).clamp(min=0)
    lengths, trusts = [both[:, 0]], [both[:, 1]]
    for number in range(1, POINTS + 1):
        gone = reach * (number / POINTS)
        place = (here + gone.detach()[..., None] * steps) / last * 2 - 1
        length, trust = F.grid_sample(both, place, mode="nearest", padding_mode="border", align_corners=True).unbind(1)
        lengths.append(length + gone)
        trusts.append(trust)
    return torch.stack(lengths, dim=1), torch.stack(trusts, dim=1)


def convolution(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """A 3x3 convolution, group normalisation in groups of eight channels, ELU."""
    return nn.Conv2d(channels, out_channels, 3, padding=1), nn.GroupNorm(out_channels // 8, out_channels), nn.ELU()


def doubled(x: Tensor) -> Tensor:
    """`[B, C, h, w]` to `[B, C, 2h, 2w]`, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
