"""Nuclei of CPP-Net's maps."""

import math
from typing import Any

import numpy as np
from monai.config import KeysCollection
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.baselines.cppnet.network import RAYS
from monch_monai.baselines.cppnet.polygons import polygons, require_stardist
from monch_monai.baselines.nuclei import OwnNucleid, commonest

LEAST = 0.4
"""Probability of a polygon that counts."""
STEPS = 8
"""Most steps of a pixel that no polygon covers, on its way to a nucleus."""


class CppNetNucleid(OwnNucleid):
    """Nuclei of CPP-Net's maps `[1 + 32 + 32 + T, H, W]`, as `OwnNucleid`; probabilities are the classes' softmax.

    Raises:
        InputError: the package stardist is not installed.
    """

    network = "CPP-Net"

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        require_stardist()

    def nuclei_of(self, maps: Tensor) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
        """Polygons of the commonest class of their pixels, and pixels of the classes that come to one."""
        centre, _, refined, logits = maps.split([1, RAYS, RAYS, len(maps) - 1 - 2 * RAYS])
        instances = polygons(centre[0].sigmoid().numpy(), refined.numpy(), LEAST)
        classes = logits.argmax(dim=0).numpy()
        class_of = commonest(instances, classes, len(logits))
        kept = np.where(class_of[instances] > 0, instances, 0)
        grown = joined(kept, classes > 0, refined.numpy())
        return class_of[grown], grown, logits.softmax(dim=0)[1:]


def joined(instances: NDArray[np.int32], mask: NDArray[np.bool_], distances: NDArray[np.float32]) -> NDArray[np.int32]:
    """Nuclei `[H, W]` with those pixels of a mask that no nucleus covers and that come to one.

    A pixel moves by the mean of its rays' ends, which leads towards the middle of its polygon, and so on from there.

    Args:
        instances: numbers, `[H, W]`.
        mask: `[H, W]`.
        distances: px, `[32, H, W]`.
    """
    angle = np.arange(len(distances)) * (2 * math.pi / len(distances))
    ways = np.stack([np.einsum("rhw,r->hw", distances, turn) for turn in (np.sin(angle), np.cos(angle))])
    ways /= len(distances)
    start = np.stack(np.nonzero(mask & (instances == 0)))
    last = np.array(mask.shape)[:, None] - 1
    place, found = start.astype(float), np.zeros(start.shape[1], np.int32)
    for _ in range(STEPS):
        place = np.clip(place + ways[:, *np.rint(place).astype(int)], 0, last)
        found = np.where(found > 0, found, instances[*np.rint(place).astype(int)])
    grown = instances.copy()
    grown[*start] = found
    return grown
