"""Class maps, and mistakes, drawn over the image they belong to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from skimage.segmentation import find_boundaries

from monch_monai.class_table import IGNORE_INDEX, Color

MISTAKES = {"missed": (255, 140, 0), "not there": (255, 0, 255), "of another class": (120, 60, 255)}
"""Colours of a truth's nuclei taken for background, of background taken for a nucleus, and of mistaken classes."""

Picture = NDArray[np.uint8]
GAP = 4
"""White pixels between pictures."""
LEAST_CONTRAST = 3.0
"""Contrast ratio that graphics need to be seen (WCAG 2.2, success criterion 1.4.11)."""


def draw_contours(
    image: Picture,
    class_map: Picture,
    colors: Sequence[Color],
    width: int = 2,
    instance_map: NDArray[np.integer] | None = None,
    halo: int = 1,
) -> Picture:
    """Copy of `image [H, W, 3]` with the outline of each region of `class_map [H, W]` in the colour of its value.

    Value 0 and those without a colour are not drawn. Outlines lie inside the regions, `width` pixels wide. Touching
    regions of one class share one outline, unless `instance_map [H, W]` separates them. On both sides of each outline
    lies a halo of `halo` pixels, in `halo_color`.
    """
    regions = class_map if instance_map is None else instance_map
    edge = maximum_filter(find_boundaries(regions, connectivity=2), 2 * width - 1)
    lines = np.where(edge & (class_map < len(colors)), class_map, 0)
    drawn = image.copy()
    draw_lines(drawn, lines, colors, halo)
    return drawn


def draw_lines(picture: Picture, lines: Picture, colors: Sequence[Color], halo: int = 1) -> None:
    """Draws `lines [H, W]` into `picture [H, W, 3]` in the colours of their values, with a halo around each."""
    drawn = lines > 0
    if halo:
        near = maximum_filter(lines, 2 * halo + 1)
        around = (near > 0) & ~drawn
        picture[around] = np.array([halo_color(color) for color in colors], np.uint8)[near[around]]
    picture[drawn] = np.array(colors, np.uint8)[lines[drawn]]


def halo_color(color: Color) -> Color:
    """White; black around colours that contrast with white by less than `LEAST_CONTRAST`.

    So the two contrast by at least `LEAST_CONTRAST` for every colour, and outlines can be seen on any stain: black
    contrasts by 7 with the darkest colour that has it.
    """
    white = (255, 255, 255)
    return white if contrast(color, white) >= LEAST_CONTRAST else (0, 0, 0)


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio of two sRGB colours, 1 to 21 (WCAG 2.2, "contrast ratio" and "relative luminance")."""
    values = np.array([one, other]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    darker, lighter = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((lighter + 0.05) / (darker + 0.05))


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
