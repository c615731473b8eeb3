"""Nuclei of TSFD-Net's maps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_erosion, label
from skimage.morphology import remove_small_objects, skeletonize
from skimage.segmentation import expand_labels
from torch import Tensor

from monch_monai.baselines.nuclei import OwnNucleid, commonest
from monch_monai.tissues import TISSUES

LEAST = 22
"""Pixels of the smallest piece that is kept."""
SQUARE = np.ones((3, 3), bool)


class TsfdNucleid(OwnNucleid):
    """Nuclei of TSFD-Net's maps `[T + 1 + 19, H, W]`, as `OwnNucleid`; probabilities are the classes' softmax."""

    network = "TSFD-Net"

    def nuclei_of(self, maps: Tensor) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
        """Pieces of one class, separated where the boundary map is above one half."""
        probs = maps[: -1 - len(TISSUES)].softmax(dim=0)[1:]
        class_map = classes_of_pieces(probs.numpy())
        instances = separated(class_map > 0, maps[-1 - len(TISSUES)].sigmoid().numpy() > 0.5)
        return np.where(instances > 0, class_map, 0), instances, probs


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
    pieces, _ = label(classes > 0)
    found: NDArray[np.uint8] = commonest(pieces, classes, len(probs) + 1)[pieces].astype(np.uint8)
    return found


def separated(mask: NDArray[np.bool_], boundary: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Nuclei `[H, W]` of a mask: without the thinned boundary, eroded by 3x3 px, numbered, grown by 2 px within it."""
    cores = binary_erosion(mask & ~skeletonize(boundary), SQUARE, border_value=1)
    found: NDArray[np.int32] = expand_labels(label(cores)[0], 2) * mask
    return found
