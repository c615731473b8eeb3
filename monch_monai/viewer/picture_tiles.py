"""Deep zoom: a slide or image as square tiles of levels, each half as fine as the one before."""

import io
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monch_monai.geometry import LevelBox
from monch_monai.slides import Slide

TILE = 512
QUALITY = 85
"""Of JPEG."""
MOST_READ = 8
"""Times as wide as a tile that what is read for it may be; beyond, it is made of four tiles of the finer level."""
KEPT = 64
"""Tiles that were made of others and stay in memory, 0.8 MB each."""


class PictureTiles:
    """Tiles of a slide.

    Args:
        slide: the pixels.

    Attributes:
        levels: how many there are; the last has the pixels of level 0 of the slide, as in OpenSeadragon.
    """

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self.levels = 1 + max(0, math.ceil(math.log2(max(slide.size) / TILE)))
        self._made = lru_cache(KEPT)(self._of_finer)

    def size(self, level: int) -> tuple[int, int]:
        """Width and height of a level, px."""
        scale = 2 ** (self.levels - 1 - level)
        return math.ceil(self.slide.size.width / scale), math.ceil(self.slide.size.height / scale)

    def has(self, level: int, x: int, y: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level < self.levels:
            return False
        width, height = self.size(level)
        return 0 <= x < math.ceil(width / TILE) and 0 <= y < math.ceil(height / TILE)

    def jpeg(self, level: int, x: int, y: int) -> bytes:
        """A tile as JPEG.

        Raises:
            InputError: the slide is damaged there.
        """
        file = io.BytesIO()
        Image.fromarray(self.pixels(level, x, y)).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()

    def pixels(self, level: int, x: int, y: int) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` of a tile; those at the right and bottom edge are smaller.

        Raises:
            InputError: the slide is damaged there.
        """
        scale = 2 ** (self.levels - 1 - level)
        finer = [i for i, d in enumerate(self.slide.downsamples) if d <= scale * 1.01]
        source = finer[-1] if finer else 0
        ratio = scale / self.slide.downsamples[source]
        if ratio > MOST_READ:
            made: NDArray[np.uint8] = self._made(level, x, y)
            return made
        width, height = self.size(level)
        across, down = min(TILE, width - x * TILE), min(TILE, height - y * TILE)
        edges = [x * TILE * ratio, y * TILE * ratio, (x * TILE + across) * ratio, (y * TILE + down) * ratio]
        box = LevelBox.between(*(round(edge) for edge in edges))
        read = self.slide.read(source, box)
        if read.shape[:2] == (down, across):
            return read
        return np.asarray(Image.fromarray(read).resize((across, down), Image.Resampling.BOX))

    def _of_finer(self, level: int, x: int, y: int) -> NDArray[np.uint8]:
        """A tile made of those that the finer level has there."""
        width, height = self.size(level)
        across, down = min(TILE, width - x * TILE), min(TILE, height - y * TILE)
        whole = np.full((2 * TILE, 2 * TILE, 3), 255, np.uint8)
        for row in (0, 1):
            for column in (0, 1):
                place = level + 1, 2 * x + column, 2 * y + row
                if self.has(*place):
                    part = self.pixels(*place)
                    top, left = row * TILE, column * TILE
                    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        seen = Image.fromarray(whole[: 2 * down, : 2 * across])
        return np.asarray(seen.resize((across, down), Image.Resampling.BOX))
