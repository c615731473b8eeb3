"""Nuclei of TSFD-Net's maps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_erosion, label
from skimage.morphology import remove_small_objects, skeletonize
from skimage.segmentation import expand_labels
from torch import Tensor

from monch_monai.predict.class_map import refuse_nan
from monch_monai.tissues import TISSUES

LEAST = 22
"""Pixels of the smallest piece that is kept."""
SQUARE = np.ones((3, 3), bool)


class TsfdNucleid(MapTransform):
    """Dictionary transform of TSFD-Net's maps to its nuclei.

    The maps `[T + 1 + 19, H, W]` become a class map `[1, H, W]`, each nucleus of one class. Added are `instance_map`
    `[1, H, W]` and `probs` `[T - 1, H, W]` float16, the classes' softmax.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of maps.

        Raises:
            NaNError: a value is NaN.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            maps = torch.as_tensor(changed[key]).as_subclass(Tensor).cpu().float()
            refuse_nan(maps, "TSFD-Net's maps")
            probs = maps[: -1 - len(TISSUES)].softmax(dim=0).numpy()[1:]
            class_map = classes_of_pieces(probs)
            instances = separated(class_map > 0, maps[-1 - len(TISSUES)].sigmoid().numpy() > 0.5)
            changed[key] = torch.from_numpy(np.where(instances > 0, class_map, 0).astype(np.uint8))[None]
            changed["instance_map"] = torch.from_numpy(instances.astype(np.int32))[None]
            changed["probs"] = torch.from_numpy(probs).half()
        return changed


def classes_of_pieces(probs: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class of each pixel, `[H, W]`, by probabilities of the nucleus classes `[T - 1, H, W]`: one class a piece.

    A class's mask is where its probability is above one half, without pieces of fewer than 22 px, closed by 3x3 px. Of
    several masks the most probable counts; a connected piece takes its commonest class.
    """
    masks = [
        binary_closing(np.pad(remove_small_objects(p > 0.5, max_size=LEAST - 1), 1), SQUARE)[1:-1, 1:-1] for p in probs
    ]
    stacked = np.stack(masks)
    classes = np.where(stacked.any(axis=0), np.where(stacked, probs, -1).argmax(axis=0) + 1, 0)
    pieces, count = label(classes > 0)
    votes = np.zeros((count + 1, len(probs) + 1), int)
    np.add.at(votes, (pieces, classes), 1)
    commonest = votes.argmax(axis=1)
    commonest[0] = 0
    found: NDArray[np.uint8] = commonest[pieces].astype(np.uint8)
    return found


def separated(mask: NDArray[np.bool_], boundary: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Nuclei `[H, W]` of a mask: without the thinned boundary, eroded by 3x3 px, numbered, grown by 2 px within it."""
    cores = binary_erosion(mask & ~skeletonize(boundary), SQUARE, border_value=1)
    found: NDArray[np.int32] = expand_labels(label(cores)[0], 2) * mask
    return found
