"""MONAI's HoVer-Net (Graham et al., 2019): network, loss and nuclei, with its branches in one tensor."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.apps.pathology.losses import HoVerNetLoss
from monai.apps.pathology.transforms import HoVerNetInstanceMapPostProcessing, HoVerNetNuclearTypePostProcessing
from monai.config import KeysCollection
from monai.networks.nets import HoVerNet
from monai.transforms import ComputeHoVerMaps, MapTransform
from monai.utils import HoVerNetBranch
from numpy.typing import NDArray
from skimage.measure import label
from torch import Tensor, nn

from monch_monai.baselines.nuclei import OwnNucleid
from monch_monai.class_table import PANNUKE, ClassTable, LabelSets
from monch_monai.encoders import Format, Publication, PublishedStart
from monch_monai.errors import InputError
from monch_monai.losses import one_hot, several_of
from monch_monai.networks.recorded import RecordedNetwork

BRANCHES = (HoVerNetBranch.NP.value, HoVerNetBranch.HV.value, HoVerNetBranch.NC.value)
"""Branches in the order of their channels: background and nucleus; horizontal and vertical; the classes."""
SIZE = 256
"""Height and width of the images that MONAI's fast HoVer-Net takes."""
SURE = 20.0
"""A logit whose loss is practically 0."""


PREACT = Publication(
    hub="vqdang/hover_net",
    files=("ImageNet-ResNet50-Preact_pytorch.tar",),
    formats=(
        Format(
            "HoVer-Net's file of a Preact-ResNet50",
            {
                r"^image\.conv0\.conv\.": "conv0./.",
                r"^image\.conv0\.": "conv0.",
                r"^image\.res_blocks\.": "",
                r"\.layers\.denselayer_(\d+)\.layers\.": r".units.\1.",
                r"\.bna_block\.": ".blk_bna.",
            },
            unused=r"(?!conv0\.|d[0-3]\.)",
        ),
    ),
    licence="none stated",
    url="https://drive.google.com/uc?id=1KntZge40tAHgyXmHYVqZZ5d2p_4Qr2l5&export=download",
)
"""The encoder's weights of ImageNet, at the address that its authors and MONAI name, with no published checksum."""


class HoVerNetMaps(RecordedNetwork):
    """MONAI's fast HoVer-Net, padded so that its maps have the image's size, with its branches in one tensor.

    Args:
        class_table: the classes.
        settings: of `monai.networks.nets.HoVerNet`.
    """

    def __init__(self, class_table: ClassTable = PANNUKE, **settings: Any) -> None:
        super().__init__(class_table)
        self.hovernet = HoVerNet(mode="fast", out_classes=len(class_table), decoder_padding=True, **settings)

    def published_start(self) -> PublishedStart:
        """The encoder up to its last stage, whose weights of ImageNet are the authors'."""
        encoder = nn.ModuleDict({"conv0": self.hovernet.conv0, "res_blocks": self.hovernet.res_blocks})
        return PublishedStart("Preact-ResNet50", PREACT, {"image": encoder})

    def forward(self, image: Tensor) -> Tensor:
        """Maps `[B, 4 + T, H, W]`, channels as in `BRANCHES`, of images `[B, 3, H, W]`.

        Raises:
            InputError: H or W is not 256, the only size that MONAI's fast mode takes.
        """
        height, width = image.shape[-2:]
        if (height, width) != (SIZE, SIZE):
            raise InputError(f"HoVer-Net takes tiles of {SIZE}x{SIZE} px and larger images; these are {width}x{height}")
        branches = self.hovernet(image)
        return torch.cat([branches[name] for name in BRANCHES], dim=1)


class HoVerDistancesd(MapTransform):
    """Dictionary transform of instance maps `[1, H, W]` to MONAI's horizontal and vertical distances `[2, H, W]`.

    Each connected piece has its own centre: an augmentation that mirrors a nucleus at the tile's edge makes two.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self.distances = ComputeHoVerMaps()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with distances in place of instance maps."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            pieces = label(torch.as_tensor(changed[key])[0].int().numpy(), connectivity=1)
            changed[key] = torch.as_tensor(self.distances(pieces[None]))
        return changed


class HoVerNetMapsLoss(nn.Module):
    """MONAI's `HoVerNetLoss` of the maps of `HoVerNetMaps`. Pixels of 255 are set to the truth and do not count.

    Pixels of several classes count for the nuclei and distances, and not for the classes.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
    """

    def __init__(self, labels: LabelSets | None = None) -> None:
        super().__init__()
        self.several = several_of(labels)
        self.loss = HoVerNetLoss()

    def forward(self, maps: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar.

        Args:
            maps: `[B, 4 + T, H, W]`.
            target: `[B, 3, H, W]`, the class map and the two distances of `HoVerDistancesd`.
        """
        predicted = _branches(maps)
        classes, counts = one_hot(target[:, :1], predicted[HoVerNetBranch.NC.value], self.several)
        ignored = ~counts[:, None]
        classes[:, :1] += ignored
        nucleus = torch.cat([classes[:, :1], 1 - classes[:, :1]], dim=1)
        unsure = classes.sum(dim=1, keepdim=True) == 0  # one of several classes: any will do
        classes[:, 1:2] += unsure
        distances = target.as_subclass(Tensor)[:, 1:].masked_fill(ignored, 0)
        truth = dict(zip(BRANCHES, (nucleus, distances, classes), strict=True))
        exact = dict(zip(BRANCHES, (SURE * nucleus, distances, SURE * classes), strict=True))
        exempt = dict(zip(BRANCHES, (ignored, ignored, ignored | unsure), strict=True))
        loss: Tensor = self.loss({n: torch.where(exempt[n], exact[n], predicted[n]) for n in BRANCHES}, truth)
        return loss


class HoVerNetNucleid(OwnNucleid):
    """Nuclei of HoVer-Net's maps `[4 + T, H, W]` by MONAI's post-processing, as `OwnNucleid`.

    Probabilities are the class branch's softmax.
    """

    network = "HoVer-Net"

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self.nuclei = HoVerNetInstanceMapPostProcessing()
        self.types = HoVerNetNuclearTypePostProcessing()

    def nuclei_of(self, maps: Tensor) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
        """Nuclei by MONAI, which gives no class to pieces too small for an outline: they are no nuclei."""
        predicted = {n: v[0] for n, v in _branches(maps[None]).items()}
        classes = predicted[HoVerNetBranch.NC.value]
        found, instance_map = self.nuclei(predicted[HoVerNetBranch.NP.value], predicted[HoVerNetBranch.HV.value])
        _, class_map = self.types(classes, found, instance_map)
        of_class, numbers = (np.asarray(each)[0] for each in (class_map, instance_map))
        return of_class, np.where(of_class > 0, numbers, 0), classes.softmax(dim=0)[1:]


def _branches(maps: Tensor) -> dict[str, Tensor]:
    return dict(zip(BRANCHES, maps.split([2, 2, maps.shape[1] - 4], dim=1), strict=True))
