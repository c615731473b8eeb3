"""Nuclei of CPP-Net's maps."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.baselines.cppnet.network import RAYS
from monch_monai.baselines.cppnet.polygons import polygons, require_stardist
from monch_monai.predict.class_map import refuse_nan

LEAST = 0.4
"""Probability of a polygon that counts."""
STEPS = 8
"""Most steps of a pixel that no polygon covers, on its way to a nucleus."""


class CppNetNucleid(MapTransform):
    """Dictionary transform of CPP-Net's maps to its nuclei.

    The maps `[1 + 32 + 32 + T, H, W]` become a class map `[1, H, W]`, each nucleus of one class. Added are
    `instance_map` `[1, H, W]` and `probs` `[T - 1, H, W]` float16, the classes' softmax.

    Raises:
        InputError: the package stardist is not installed.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        require_stardist()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of maps.

        Raises:
            NaNError: a value is NaN.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            maps = torch.as_tensor(changed[key]).as_subclass(Tensor).cpu().float()
            refuse_nan(maps, "CPP-Net's maps")
            centre, _, refined, logits = maps.split([1, RAYS, RAYS, len(maps) - 1 - 2 * RAYS])
            instances = polygons(centre[0].sigmoid().numpy(), refined.numpy(), LEAST)
            classes = logits.argmax(dim=0).numpy()
            class_of = commonest(instances, classes, len(logits))
            kept = np.where(class_of[instances] > 0, instances, 0)
            grown = joined(kept, classes > 0, refined.numpy())
            changed[key] = torch.from_numpy(class_of[grown].astype(np.uint8))[None]
            changed["instance_map"] = torch.from_numpy(grown)[None]
            changed["probs"] = logits.softmax(dim=0)[1:].half()
        return changed


def commonest(instances: NDArray[np.int32], classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Commonest of `count` classes in each nucleus, by its number; 0 for the number 0."""
    votes = np.zeros((int(instances.max()) + 1, count), int)
    np.add.at(votes, (instances, classes), 1)
    votes[0] = 0
    found: NDArray[np.int64] = votes.argmax(axis=1)
    return found


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
