"""How the answers of tiles become the map of a region, and which region reports a nucleus. Numbers only.

A nucleus is reported by the one region whose core holds its centroid (half-open: left and top edges belong to the core,
right and bottom ones to the next). That region sees it whole, because its view reaches further than half a nucleus
beyond the core; and so do its neighbours, which see the same nucleus with the same centroid and leave it out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.classes import NUCLEUS_CLASSES
from monch_monai.slides.geometry import Box
from monch_monai.slides.tiling import Cell, Lattice


class Prediction(NamedTuple):
    """What the network says of some pixels: `class_map [..., H, W]` uint8 and `probs [..., 5, H, W]` float16 of the
    nucleus classes, in [0, 1].
    """

    class_map: NDArray[np.uint8]
    probs: NDArray[np.float16]

    @classmethod
    def background(cls, height: int, width: int) -> "Prediction":
        """That there is nothing."""
        return cls(np.zeros((height, width), np.uint8), np.zeros((len(NUCLEUS_CLASSES), height, width), np.float16))


def cut_cell(tile: Prediction, lattice: Lattice, cell: Cell) -> Prediction:
    """The part of a tile's answer `[tile, tile]` that counts: its cell's."""
    rows, columns = lattice.cell(cell).within(lattice.window(cell))
    return Prediction(tile.class_map[rows, columns].copy(), tile.probs[:, rows, columns].copy())


def paste_cell(view: Prediction, view_box: Box, lattice: Lattice, cell: Cell, answer: Prediction) -> None:
    """Puts a cell's answer into the map of a view, as far as it lies in it."""
    place = lattice.cell(cell)
    both = place.common(view_box)
    rows, columns = both.within(view_box)
    cell_rows, cell_columns = both.within(place)
    view.class_map[rows, columns] = answer.class_map[cell_rows, cell_columns]
    view.probs[:, rows, columns] = answer.probs[:, cell_rows, cell_columns]


def owned(core: Box, centroids: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the centroids `[N, 2]` (x, y) on the working grid are the core's to report."""
    x, y = centroids[:, 0], centroids[:, 1]
    return (x >= core.x) & (x < core.right) & (y >= core.y) & (y < core.bottom)
