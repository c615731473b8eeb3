"""Where a slide has tissue: only there the network runs, and only there nuclei are reported.

1. The slide in small, 8 µm/px.
2. A pixel is tissue where its saturation (the range of its colours over the largest) is above a threshold, and it is
   not black (pen, dust, the edge of the scan). The threshold is Otsu's, but never below 0.04 or above 0.10: glass is
   below the one and stained tissue above the other even where a slide has nothing but tissue, or nothing but glass.
3. Gaps of up to 50 µm are closed, holes of less than 0.01 mm² filled, pieces of less than `min_area_mm2` dropped.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_dilation, label, uniform_filter
from skimage.filters import threshold_otsu

from monch_monai.data.density import BLACK, LEAST_SATURATION
from monch_monai.errors import InputError
from monch_monai.settings import fraction
from monch_monai.slides.geometry import Box, Grid, Mpp

MOST_SATURATION = 0.10
GAP_UM = 50.0
HOLE_MM2 = 0.01


@dataclass(frozen=True)
class Tissue:
    """A mask over the working grid, in larger pixels.

    Attributes:
        mask: `[h, w]`.
        per_px: working px per mask px, along x and y.
        origin: column and row of the whole slide's mask that `mask` begins at.
    """

    mask: NDArray[np.bool_]
    per_px: tuple[float, float]
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def everywhere(cls, grid: Grid) -> "Tissue":
        """All of the slide."""
        return cls(np.ones((1, 1), bool), (grid.width, grid.height))

    def area_mm2(self, mpp: Mpp) -> float:
        """Area of it, where a working px has `mpp`."""
        return float(self.mask.sum() * self.per_px[0] * self.per_px[1] * mpp.x * mpp.y * 1e-6)

    def touches(self, box: Box) -> bool:
        """Whether it has a pixel in a box of the working grid."""
        (sx, sy), (x, y) = self.per_px, self.origin
        rows = slice(max(0, int(box.y / sy) - y), max(0, int(np.ceil(box.bottom / sy)) - y))
        columns = slice(max(0, int(box.x / sx) - x), max(0, int(np.ceil(box.right / sx)) - x))
        return bool(self.mask[rows, columns].any())

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the points `[N, 2]` (x, y) of the working grid lie in it."""
        places = (points / self.per_px).astype(int) - self.origin
        height, width = self.mask.shape
        inside = np.all((places >= 0) & (places < (width, height)), axis=1)
        x, y = np.where(inside[:, None], places, 0).T
        held: NDArray[np.bool_] = inside & self.mask[y, x]
        return held

    def pixels(self, box: Box) -> NDArray[np.bool_]:
        """It, `[H, W]`, in a box of the working grid."""
        height, width = self.mask.shape
        x = ((np.arange(box.x, box.right) + 0.5) / self.per_px[0]).astype(int) - self.origin[0]
        y = ((np.arange(box.y, box.bottom) + 0.5) / self.per_px[1]).astype(int) - self.origin[1]
        pixels: NDArray[np.bool_] = self.mask[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)[None]]
        return pixels

    def part(self, box: Box) -> "Tissue":
        """It, no larger than a box needs."""
        (sx, sy), (x, y) = self.per_px, self.origin
        left, top = max(0, int(box.x / sx) - x), max(0, int(box.y / sy) - y)
        right, bottom = int(np.ceil(box.right / sx)) - x + 1, int(np.ceil(box.bottom / sy)) - y + 1
        return replace(self, mask=self.mask[top:bottom, left:right], origin=(x + left, y + top))

    def grown(self, margin: int) -> "Tissue":
        """It and what lies within `margin` working px."""
        steps = int(np.ceil(margin / min(self.per_px)))
        return replace(self, mask=binary_dilation(self.mask, iterations=steps) if steps else self.mask)

    def joined(self, boxes: list[Box]) -> "Tissue":
        """It and these boxes of the working grid."""
        mask = self.mask.copy()
        for box in boxes:
            rows = slice(int(box.y / self.per_px[1]), int(np.ceil(box.bottom / self.per_px[1])))
            mask[rows, int(box.x / self.per_px[0]) : int(np.ceil(box.right / self.per_px[0]))] = True
        return replace(self, mask=mask)


class TissueFinder:
    """Finds the tissue of slides.

    Args:
        threshold: saturation above which a pixel is tissue, 0 to 1; Otsu's, bounded, when None.
        min_area_mm2: area of the smallest piece kept.

    Raises:
        InputError: a setting is no usable number.
    """

    def __init__(self, threshold: float | None = None, min_area_mm2: float = 0.01) -> None:
        if threshold is not None:
            fraction("tissue_threshold", threshold)
        if not isinstance(min_area_mm2, int | float) or not min_area_mm2 >= 0:
            raise InputError(f"tissue_min_area_mm2 is {min_area_mm2!r}; give mm², a number of at least 0")
        self.threshold, self.min_area_mm2 = threshold, min_area_mm2

    def __call__(self, small: NDArray[np.uint8], grid: Grid) -> Tissue:
        """Tissue of a slide that is `small`, `[H, W, 3]`, as a whole (`monch_monai.slides.reading.in_small`)."""
        height, width = small.shape[:2]
        per_px = (grid.width / width, grid.height / height)
        mask = self.of_image(small, per_px[0] * per_px[1] * grid.mpp.x * grid.mpp.y)
        return Tissue(mask, per_px)

    def of_image(self, small: NDArray[np.uint8], um2_per_px: float) -> NDArray[np.bool_]:
        """Mask `[H, W]` of a slide in small, `[H, W, 3]`."""
        values = small.astype(np.float32) / 255
        largest = values.max(axis=2)
        saturation = uniform_filter((largest - values.min(axis=2)) / np.maximum(largest, 1e-6), 3)
        threshold = self.threshold
        if threshold is None:
            spread = saturation.min() < saturation.max()
            otsu = float(threshold_otsu(saturation)) if spread else LEAST_SATURATION
            threshold = min(max(otsu, LEAST_SATURATION), MOST_SATURATION)
        mask = (saturation > threshold) & (largest > BLACK)
        side = np.sqrt(um2_per_px)
        steps = max(1, round(GAP_UM / 2 / side))
        closed = binary_closing(np.pad(mask, steps), iterations=steps)[steps:-steps, steps:-steps]
        filled = ~_without_small(~closed, HOLE_MM2 * 1e6 / um2_per_px)
        return _without_small(filled, self.min_area_mm2 * 1e6 / um2_per_px)


def _without_small(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """The connected pieces of at least `least` pixels."""
    pieces, _ = label(mask)
    kept = np.bincount(pieces.ravel()) >= least
    kept[0] = False
    large: NDArray[np.bool_] = kept[pieces]
    return large
