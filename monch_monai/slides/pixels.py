"""Pixels of a slide at the working resolution, and overviews of the whole slide."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from monch_monai.geometry import LevelBox, WorkingBox, WorkingGrid, working_grid
from monch_monai.slides.slide import Slide
from monch_monai.stain import TISSUE_MPP

STRIPE = 2048
"""Side of the squares in which a level is read to be made small, px."""
SMALL_SLIDE = 4096
"""Longest side of slides whose overview is made of level 0, px: of a field, the same with coarser levels or without."""


def grid_of(slide: Slide) -> WorkingGrid:
    """Working pixels of a slide whose mpp is known."""
    return working_grid(slide.size, slide.resolution, slide.downsamples)


def read_working(slide: Slide, grid: WorkingGrid, box: WorkingBox) -> NDArray[np.uint8]:
    """RGB `[H, W, 3]` of a box of working pixels.

    Where these are no level's own, they are the level's resampled by a triangle filter that is as wide as the larger
    of both pixels. A pixel has the same value whichever box it is read with.

    Raises:
        InputError: the file is damaged there.
    """
    sx, sy = grid.per_level
    if (sx, sy) == (1.0, 1.0):
        return slide.read(grid.level, LevelBox(*box))
    columns, across = _weights(box.x, box.width, sx)
    rows, down = _weights(box.y, box.height, sy)
    source = LevelBox(columns.start, rows.start, len(columns), len(rows))
    pixels = slide.read(grid.level, source).astype(np.float32)
    narrow = (across @ pixels.swapaxes(0, 1).reshape(source.width, -1)).reshape(box.width, source.height, 3)
    small = (down @ narrow.swapaxes(0, 1).reshape(source.height, -1)).reshape(box.height, box.width, 3)
    rounded: NDArray[np.uint8] = small.round().astype(np.uint8)
    return rounded


def _weights(first: int, count: int, scale: float) -> tuple[range, csr_array]:
    """Which pixels of a level, and how much of each, make `count` working px from `first` on: `[count, pixels]`.

    (Pillow resamples in the same way, but takes its box in single precision, which shifts pixels by where it begins.)
    """
    radius = max(scale, 1.0)
    centres = (np.arange(first, first + count) + 0.5) * scale
    taps = np.floor(centres - radius).astype(np.int64)[:, None] + np.arange(math.ceil(2 * radius) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(taps + 0.5 - centres[:, None]) / radius)
    weights /= weights.sum(axis=1, keepdims=True)
    pixels = range(int(taps[0, 0]), int(taps[-1, -1]) + 1)
    starts = np.arange(0, weights.size + 1, weights.shape[1])
    entries = (weights.ravel().astype(np.float32), (taps - pixels.start).ravel(), starts)
    return pixels, csr_array(entries, shape=(count, len(pixels)))


def tissue_overview(slide: Slide, grid: WorkingGrid) -> tuple[NDArray[np.uint8], float]:
    """The whole slide `[H, W, 3]` at about `TISSUE_MPP`, where tissue is found, and µm² per pixel of it.

    Raises:
        InputError: the file is damaged.
    """
    wanted = TISSUE_MPP / grid.mpp.mean * math.sqrt(grid.per_level0[0] * grid.per_level0[1])
    pixels = overview(slide, max(1.0, wanted))
    level0_px = slide.size.width * slide.size.height
    return pixels, level0_px / (pixels.shape[0] * pixels.shape[1]) * grid.um2_per_level0_px


def overview(slide: Slide, downsample: float) -> NDArray[np.uint8]:
    """The whole slide `[H, W, 3]`, one pixel for `downsample` px of level 0, from the coarsest level that is finer.

    Read square by square: a slide without coarse levels takes time, not memory.

    Raises:
        InputError: the file is damaged.
    """
    finer = [i for i, d in enumerate(slide.downsamples) if d <= downsample]
    level = finer[-1] if finer and max(slide.size) > SMALL_SLIDE else 0
    scale = downsample / slide.downsamples[level]
    width, height = (max(1, round(n / scale)) for n in slide.sizes[level])
    whole = LevelBox(0, 0, width, height)
    small = np.empty((height, width, 3), np.uint8)
    for box in whole.squares(max(1, math.floor(STRIPE / scale))):
        edges = zip((box.right, box.bottom), (width, height), slide.sizes[level], strict=True)
        right, bottom = (round(v * scale) if v < last else size for v, last, size in edges)  # to the very edge
        seen = LevelBox.between(round(box.x * scale), round(box.y * scale), right, bottom)
        pixels = Image.fromarray(slide.read(level, seen))
        small[box.within(whole)] = np.asarray(pixels.resize((box.width, box.height), Image.Resampling.BOX))
    return small
