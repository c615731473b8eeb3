"""How an image is cut into the tiles that the network sees. Numbers only.

Tiles lie on one lattice over the whole image, whatever part of it is asked for. None reaches beyond the image, unless
the image is narrower than a tile: there its last row and column are repeated. The prediction of a tile counts for the
*cell* in its middle, and at the image's edge up to the edge, so each pixel has one prediction: that of the tile around
it. Neighbouring tiles overlap; neighbouring cells touch.
"""

import math
from dataclasses import dataclass

from monch_monai.geometry import TILE_SIZE, WorkingBox
from monch_monai.settings import number, whole_number

Cell = tuple[int, int]
"""Column and row of a tile in the lattice."""
LEAST_TILE = 32
MOST_OVERLAP = 0.75


@dataclass(frozen=True)
class Tiling:
    """Settings of the tiles, for images of any size.

    Args:
        tile_size: side of a tile, px.
        overlap: share of a tile that it has in common with the next.
        batch_size: tiles that the network sees at once.

    Raises:
        InputError: `tile_size` is below 32, `overlap` not from 0 to 0.75, `batch_size` below 1, or one is no number.
    """

    tile_size: int = TILE_SIZE
    overlap: float = 0.25
    batch_size: int = 4

    def __post_init__(self) -> None:
        """Refuses what makes no lattice."""
        whole_number("tile_size", self.tile_size, least=LEAST_TILE)
        number("overlap", self.overlap, least=0, most=MOST_OVERLAP, unit="a share of the tile, ")
        whole_number("batch_size", self.batch_size, least=1)

    def over(self, image: WorkingBox) -> "Lattice":
        """The lattice of tiles over an image."""
        return Lattice(self.tile_size, round(self.tile_size * (1 - self.overlap)), self.batch_size, image)


@dataclass(frozen=True)
class Lattice:
    """Tiles of `tile` px, a `step` apart, over one image, which begins at 0, 0."""

    tile: int
    step: int
    batch_size: int
    image: WorkingBox

    @property
    def columns(self) -> int:
        """Number of tiles from left to right."""
        return self._count(self.image.width)

    @property
    def rows(self) -> int:
        """Number of tiles from top to bottom."""
        return self._count(self.image.height)

    @property
    def batch(self) -> int:
        """Tiles at once: `batch_size`, or fewer where the whole image has fewer."""
        return min(self.batch_size, self.columns * self.rows)

    def cell(self, index: Cell) -> WorkingBox:
        """The part that a tile's prediction counts for."""
        (left, right), (top, bottom) = (
            self._cell(i, n) for i, n in zip(index, (self.image.width, self.image.height), strict=True)
        )
        return WorkingBox.between(left, top, right, bottom)

    def window(self, index: Cell) -> WorkingBox:
        """The part that a tile sees."""
        places = zip(index, (self.image.width, self.image.height), strict=True)
        x, y = (min(i * self.step, max(0, size - self.tile)) for i, size in places)
        return WorkingBox(x, y, self.tile, self.tile)

    def cells(self, box: WorkingBox) -> list[Cell]:
        """Tiles whose cells have a pixel in `box`, row by row."""
        part = box.common(self.image)
        if not part.width or not part.height:
            return []
        columns = range(self._index(part.x, self.columns), self._index(part.right - 1, self.columns) + 1)
        rows = range(self._index(part.y, self.rows), self._index(part.bottom - 1, self.rows) + 1)
        return [(column, row) for row in rows for column in columns]

    def hull(self, cells: list[Cell]) -> WorkingBox:
        """Smallest box around all that these tiles see."""
        windows = [self.window(cell) for cell in cells]
        return WorkingBox.between(
            min(w.x for w in windows),
            min(w.y for w in windows),
            max(w.right for w in windows),
            max(w.bottom for w in windows),
        )

    @property
    def _before(self) -> int:
        """Pixels of a tile to the left of and above its cell, inside the image."""
        return (self.tile - self.step) // 2

    def _count(self, size: int) -> int:
        return 1 + max(0, math.ceil((size - self.tile) / self.step))

    def _cell(self, i: int, size: int) -> tuple[int, int]:
        start = 0 if i == 0 else i * self.step + self._before
        return start, size if i == self._count(size) - 1 else (i + 1) * self.step + self._before

    def _index(self, place: int, count: int) -> int:
        return min(max((place - self._before) // self.step, 0), count - 1)
