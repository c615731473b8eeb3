"""Nuclei of networks that find their own, as a dictionary transform."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.predict.prediction import refuse_nan


class OwnNucleid(MapTransform):
    """Dictionary transform of a network's maps `[M, H, W]` to its nuclei, which a subclass finds.

    The maps become a class map `[1, H, W]`, each nucleus of one class. Added are `instance_map` `[1, H, W]` and `probs`
    `[T - 1, H, W]` float16, the probabilities of the nucleus classes.
    """

    network: str
    """Name of the network, in messages."""

    def nuclei_of(self, maps: Tensor) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
        """Class map `[H, W]`, instance map `[H, W]` and probabilities `[T - 1, H, W]` of maps `[M, H, W]`, float32."""
        raise NotImplementedError

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of maps.

        Raises:
            NaNError: a value is NaN.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            maps = torch.as_tensor(changed[key]).as_subclass(Tensor).cpu().float()
            refuse_nan(maps, f"{self.network}'s maps")
            class_map, instance_map, probs = self.nuclei_of(maps)
            changed[key] = torch.from_numpy(class_map.astype(np.uint8))[None]
            changed["instance_map"] = torch.from_numpy(instance_map.astype(np.int32))[None]
            changed["probs"] = probs.half()
        return changed


def commonest(pieces: NDArray[np.integer], classes: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Commonest of `count` classes `[H, W]` in each piece, by its number in `pieces [H, W]`; 0 for the number 0."""
    votes = np.zeros((int(pieces.max()) + 1, count), int)
    np.add.at(votes, (pieces, classes), 1)
    votes[0] = 0
    found: NDArray[np.int64] = votes.argmax(axis=1)
    return found
