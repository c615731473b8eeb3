"""Class maps, and mistakes, drawn over the image they belong to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from skimage.segmentation import find_boundaries

from monch_monai.class_table import IGNORE_INDEX

MISTAKES = {"missed": (255, 140, 0), "not there": (255, 0, 255), "of another class": (120, 60, 255)}
"""Colours of a truth's nuclei taken for background, of background taken for a nucleus, and of mistaken classes."""

Picture = NDArray[np.uint8]
GAP = 4
"""White pixels between pictures."""


def draw_contours(
    image: Picture,
    class_map: Picture,
    colors: Sequence[tuple[int, int, int]],
    width: int = 2,
    instance_map: NDArray[np.integer] | None = None,
) -> Picture:
    """Copy of `image [H, W, 3]` with the outline of each region of `class_map [H, W]` in the colour of its value.

    Value 0 and those without a colour are not drawn. Outlines lie inside the regions, `width` pixels wide. Touching
    regions of one class share one outline, unless `instance_map [H, W]` separates them.
    """
    regions = class_map if instance_map is None else instance_map
    edge = maximum_filter(find_boundaries(regions, connectivity=2), 2 * width - 1)
    drawn = image.copy()
    for value, color in enumerate(colors[1:], start=1):
        drawn[edge & (class_map == value)] = color
    return drawn


def draw_mistakes(image: Picture, truth: Picture, predicted: Picture) -> Picture:
    """The image in pale grey; pixels where two class maps `[H, W]` differ are coloured as in `MISTAKES`.

    Pixels whose truth is 255 are no mistakes.
    """
    grey = 128 + image.mean(axis=2, keepdims=True) / 2
    drawn = np.repeat(grey, 3, axis=2).astype(np.uint8)
    wrong = (truth != predicted) & (truth != IGNORE_INDEX)
    kinds = (predicted == 0, truth == 0, (truth > 0) & (predicted > 0))
    for chosen, color in zip(kinds, MISTAKES.values(), strict=True):
        drawn[wrong & chosen] = color
    return drawn


def side_by_side(*pictures: Picture) -> Picture:
    """Pictures `[H, W, 3]` of one height in a row, with `GAP` between them."""
    gap = np.full((len(pictures[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=1)
