"""The tissue of a slide: only there the network runs, and only there nuclei are reported."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from monch_monai.geometry import WorkingBox, WorkingGrid


@dataclass(frozen=True)
class Tissue:
    """A mask over a slide, in pixels larger than working pixels.

    Attributes:
        mask: `[h, w]`.
        per_px: working px per mask px, along x and y.
        origin: column and row of the whole slide's mask that `mask` begins at.
    """

    mask: NDArray[np.bool_]
    per_px: tuple[float, float]
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def everywhere(cls, grid: WorkingGrid) -> "Tissue":
        """All of the slide."""
        return cls(np.ones((1, 1), bool), (grid.box.width, grid.box.height))

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_], grid: WorkingGrid) -> "Tissue":
        """Tissue by a mask `[h, w]` of the whole slide."""
        return cls(mask, (grid.box.width / mask.shape[1], grid.box.height / mask.shape[0]))

    def area_mm2(self, grid: WorkingGrid) -> float:
        """Area of the tissue."""
        return float(self.mask.sum() * self.per_px[0] * self.per_px[1] * grid.mpp.x * grid.mpp.y * 1e-6)

    def touches(self, box: WorkingBox) -> bool:
        """Whether a box has a pixel of tissue."""
        return bool(self.mask[self._pixels_of(box)].any())

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the points `[N, 2]` (x, y), in working px, lie in tissue."""
        places = (points / self.per_px).astype(int) - self.origin
        height, width = self.mask.shape
        inside = np.all((places >= 0) & (places < (width, height)), axis=1)
        x, y = np.where(inside[:, None], places, 0).T
        held: NDArray[np.bool_] = inside & self.mask[y, x]
        return held

    def pixels(self, box: WorkingBox) -> NDArray[np.bool_]:
        """Mask `[H, W]` of the working pixels of a box."""
        height, width = self.mask.shape
        x = ((np.arange(box.x, box.right) + 0.5) / self.per_px[0]).astype(int) - self.origin[0]
        y = ((np.arange(box.y, box.bottom) + 0.5) / self.per_px[1]).astype(int) - self.origin[1]
        pixels: NDArray[np.bool_] = self.mask[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)[None]]
        return pixels

    def part(self, box: WorkingBox) -> "Tissue":
        """The tissue in and next to a box."""
        rows, columns = self._pixels_of(box)
        mask = self.mask[rows.start : rows.stop + 1, columns.start : columns.stop + 1]
        return replace(self, mask=mask, origin=(self.origin[0] + columns.start, self.origin[1] + rows.start))

    def grown(self, margin: int) -> "Tissue":
        """The tissue and all that lies within `margin` working px of it."""
        steps = int(np.ceil(margin / min(self.per_px)))
        return replace(self, mask=binary_dilation(self.mask, iterations=steps) if steps else self.mask)

    def joined(self, boxes: list[WorkingBox]) -> "Tissue":
        """The tissue of a whole slide, and these boxes."""
        mask = self.mask.copy()
        for box in boxes:
            mask[self._pixels_of(box)] = True
        return replace(self, mask=mask)

    def _pixels_of(self, box: WorkingBox) -> tuple[slice, slice]:
        """Rows and columns of the mask's pixels that meet a box."""
        (sx, sy), (x, y) = self.per_px, self.origin
        rows = slice(max(0, int(box.y / sy) - y), max(0, int(np.ceil(box.bottom / sy)) - y))
        return rows, slice(max(0, int(box.x / sx) - x), max(0, int(np.ceil(box.right / sx)) - x))
