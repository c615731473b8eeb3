"""How a slide is cut up: regions of work, and within them the tiles that the network sees. Numbers only.

*Regions*: each pixel lies in the core of exactly one. A region is segmented with a margin around its core, its *view*.

*Tiles* lie on one lattice over the whole slide, whatever the regions: each answers for the *cell* in its middle, so
each pixel has one answer, that of the tile around it. Neighbouring tiles overlap; neighbouring cells touch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from monch_monai.errors import InputError
from monch_monai.slides.geometry import Box

Cell = tuple[int, int]
"""Column and row of a tile in the lattice."""


def cores(whole: Box, side: int) -> Iterator[Box]:
    """Squares of `side` px that cover `whole`, row by row, none overlapping; the last are cut at its edge."""
    for y in range(whole.y, whole.bottom, side):
        for x in range(whole.x, whole.right, side):
            yield Box(x, y, side, side).common(whole)


@dataclass(frozen=True)
class Lattice:
    """Tiles of `tile` px, a `step` apart.

    Raises:
        InputError: the overlap is not in [0, 1), or leaves no step.
    """

    tile: int
    overlap: float

    def __post_init__(self) -> None:
        """Refuses what makes no lattice."""
        if not isinstance(self.tile, int) or isinstance(self.tile, bool) or self.tile < 32:
            raise InputError(f"tile_size is {self.tile!r}; give px, a whole number of at least 32")
        if not isinstance(self.overlap, int | float) or not 0 <= self.overlap <= 0.75:
            raise InputError(f"overlap is {self.overlap!r}; give a share of the tile, a number from 0 to 0.75")

    @property
    def step(self) -> int:
        """Side of a cell, px."""
        return round(self.tile * (1 - self.overlap))

    def cell(self, index: Cell) -> Box:
        """What the tile answers for."""
        return Box(index[0] * self.step, index[1] * self.step, self.step, self.step)

    def window(self, index: Cell) -> Box:
        """What the tile sees: its cell in the middle."""
        before = (self.tile - self.step) // 2
        cell = self.cell(index)
        return Box(cell.x - before, cell.y - before, self.tile, self.tile)

    def cells(self, box: Box) -> list[Cell]:
        """Tiles whose cells have a pixel in `box`, row by row."""
        if not box.width or not box.height:
            return []
        columns = range(math.floor(box.x / self.step), math.ceil(box.right / self.step))
        rows = range(math.floor(box.y / self.step), math.ceil(box.bottom / self.step))
        return [(column, row) for row in rows for column in columns]

    def hull(self, cells: list[Cell]) -> Box:
        """Smallest box with all that these tiles see."""
        windows = [self.window(cell) for cell in cells]
        return Box.between(
            min(w.x for w in windows),
            min(w.y for w in windows),
            max(w.right for w in windows),
            max(w.bottom for w in windows),
        )
