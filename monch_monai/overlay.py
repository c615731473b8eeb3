"""Class maps drawn over the image they belong to."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from monch_monai.classes import NUCLEUS_CLASSES


def draw_contours(image: NDArray[np.uint8], class_map: NDArray[np.uint8], width: int = 2) -> NDArray[np.uint8]:
    """Copy of `image [H, W, 3]` with the outline of each region of `class_map [H, W]` in its class's colour.

    Outlines lie inside the regions, `width` pixels wide. Touching regions of one class share one outline.
    """
    window = 2 * width + 1
    edge = minimum_filter(class_map, window) != maximum_filter(class_map, window)
    drawn = image.copy()
    for nucleus in NUCLEUS_CLASSES:
        drawn[edge & (class_map == nucleus.index)] = nucleus.color
    return drawn
