"""Tiles of outlines by level of detail, as the bytes that the page draws."""

import math

import numpy as np
from numpy.typing import NDArray

from monch_monai.geometry import Level0Box, Size
from monch_monai.viewer.outline_index import SPAN, OutlineIndex, gathered

UNITS = 16
"""Steps of coordinates in a pixel of the tile's level."""
LEAST_DIAMETER = 4.0
"""px of a level below which nuclei are drawn as dots."""
CELL = 2
"""Side of a dot, px of the level: of the nuclei of a class in a cell, the most probable is kept."""
MOST = 2**15 - 1


class OutlineTiles:
    """Outlines of the nuclei of a slide, in square tiles of `SPAN` px of their level.

    Level 0 has pixels of level 0 of the slide; those of each next level are twice as wide.

    Args:
        index: of the nuclei.
        size: of the slide, level 0.
        part: outside which centroids are left out; None takes all nuclei.

    Attributes:
        levels: how many there are: of the last, one tile covers the slide.
        dots_from: first level at which nuclei are dots.
    """

    def __init__(self, index: OutlineIndex, size: Size, part: Level0Box | None = None) -> None:
        self.index, self.part = index, part
        self.levels = 1 + max(0, math.ceil(math.log2(max(*size, 1) / SPAN)))
        shrinkage = index.diameter / LEAST_DIAMETER
        self.dots_from = min(self.levels, max(1, math.ceil(math.log2(shrinkage))) if shrinkage > 1 else 1)

    def tile(self, level: int, x: int, y: int) -> bytes:
        """A tile, little-endian.

        Of outlines: counts of nuclei, rings and points, uint32. Then follow rows of nuclei uint32, each ring's nucleus
        uint32 and number of points uint32, points (x, y) int16 in 1/`UNITS` px from the tile's corner, mean
        probabilities uint16 in 1e-4, classes uint8. Of dots: their count, uint32; then mean probabilities uint16,
        columns, rows (in cells of `CELL` px) and classes uint8.
        """
        side = SPAN << level
        rows = self.index.within(x * side, y * side, side)
        if self.part is not None:
            rows = rows[self.index.lie_in(self.part, rows)]
        return self._dots(level, x, y, rows) if level >= self.dots_from else self._outlines(level, x, y, rows)

    def _outlines(self, level: int, x: int, y: int, rows: NDArray[np.int64]) -> bytes:
        index, corner = self.index, np.array([x, y]) * (SPAN << level)
        ring_counts = index.rings[rows + 1] - index.rings[rows]
        rings = gathered(index.rings[rows], ring_counts)
        counts = index.points[rings + 1] - index.points[rings]
        exact = index.coordinates[gathered(index.points[rings], counts)]
        steps = np.clip(np.rint((exact - corner) / 2**level * UNITS), -MOST, MOST).astype("<i2")
        if level and len(steps):  # two points in half a pixel are one
            steps = steps // (UNITS // 2) * (UNITS // 2)
            of_ring = np.repeat(np.arange(len(rings)), counts)
            kept = np.append(True, np.any(steps[1:] != steps[:-1], axis=1) | (of_ring[1:] != of_ring[:-1]))
            steps, counts = steps[kept], np.bincount(of_ring[kept], minlength=len(rings))
        numbers = np.array([len(rows), len(rings), len(steps)], "<u4")
        of_nucleus = np.repeat(np.arange(len(rows)), ring_counts).astype("<u4")
        arrays = (numbers, rows.astype("<u4"), of_nucleus, counts.astype("<u4"), steps)
        return b"".join(a.tobytes() for a in (*arrays, index.probs[rows], index.classes[rows]))

    def _dots(self, level: int, x: int, y: int, rows: NDArray[np.int64]) -> bytes:
        index, cells = self.index, SPAN // CELL
        columns, lines = np.floor(index.places[rows] / (1000 * (CELL << level))).astype(np.int64).T
        columns, lines = columns - x * cells, lines - y * cells
        inside = (columns >= 0) & (columns < cells) & (lines >= 0) & (lines < cells)
        rows, columns, lines = rows[inside], columns[inside], lines[inside]
        place = (index.classes[rows].astype(np.int64) * cells + lines) * cells + columns
        order = np.lexsort((-index.probs[rows].astype(np.int32), place))
        first = order[np.append(True, place[order][1:] != place[order][:-1])[: len(order)]]
        count = np.array([len(first)], "<u4")
        arrays = (count, index.probs[rows[first]], columns[first].astype(np.uint8), lines[first].astype(np.uint8))
        return b"".join(a.tobytes() for a in (*arrays, index.classes[rows[first]]))
