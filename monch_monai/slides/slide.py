"""Slides: which rectangle of which level is which pixels, and how large a pixel is."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError, one_line
from monch_monai.geometry import Level0Box, LevelBox, Mpp, Size


class Slide(ABC):
    """A pyramid of RGB pixels.

    Attributes:
        name: its name in messages.
        size: of level 0.
        mpp: of level 0; None where the file does not state it.
        downsamples: px of level 0 per px of each level, finest first.
        sizes: (width, height) of each level, in its own px.
        origin: (x, y) at which level 0 begins, in px of the file's own level 0: not (0, 0) where the file states that
            only a part was scanned, as MIRAX does. Level 0 is that part, as in QuPath.
        shown_from: (x, y) at which level 0 begins, in px of what large_image shows of the file, as the Digital Slide
            Archive does: that part too, but the whole file where the part that it states reaches beyond it.
    """

    name: str
    origin: tuple[int, int] = (0, 0)
    shown_from: tuple[int, int] = (0, 0)
    size: Size
    mpp: Mpp | None
    downsamples: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def resolution(self) -> Mpp:
        """`mpp`, where it must be known.

        Raises:
            ValueError: the file does not state it, and nobody else has.
        """
        if self.mpp is None:
            raise ValueError(f"{self.name} does not state its resolution")
        return self.mpp

    @property
    def box(self) -> Level0Box:
        """The whole slide."""
        return Level0Box(0, 0, self.size.width, self.size.height)

    def read(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        """RGB pixels `[H, W, 3]` of a box of a level; those beyond the slide repeat its edge.

        Raises:
            InputError: the file is damaged there.
        """
        width, height = self.sizes[level]
        # At least one row and column of the slide, to repeat.
        x, y = min(max(box.x, 0), width - 1), min(max(box.y, 0), height - 1)
        inside = LevelBox.between(x, y, min(max(box.right, x + 1), width), min(max(box.bottom, y + 1), height))
        try:
            pixels = self._pixels(level, inside)
        except Exception as error:  # decoders raise whatever they like on damaged files
            place = f"x {x}, y {y} of level {level}"
            raise InputError(f"{self.name} cannot be read at {place} ({one_line(error)}): replace it") from error
        if inside == box:
            return pixels
        rows = np.clip(np.arange(box.y, box.bottom), inside.y, inside.bottom - 1) - inside.y
        columns = np.clip(np.arange(box.x, box.right), inside.x, inside.right - 1) - inside.x
        repeated: NDArray[np.uint8] = pixels[rows[:, None], columns[None, :]]
        return repeated

    @abstractmethod
    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` of a box that lies inside the level."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file."""


class ImageSlide(Slide):
    """An RGB image in memory as a slide of one level.

    Args:
        pixels: `[H, W, 3]` uint8.
        mpp: µm per pixel.
        name: its name in messages.

    Raises:
        InputError: `pixels` is of another shape or type, or `mpp` is no resolution.
    """

    def __init__(self, pixels: NDArray[np.uint8], mpp: float, name: str = "the image") -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(f"{name} is {pixels.dtype} {list(pixels.shape)}; expected uint8 RGB [H, W, 3]")
        self.pixels, self.name, self.mpp = pixels, name, Mpp(mpp, mpp)
        height, width = pixels.shape[:2]
        self.size, self.sizes, self.downsamples = Size(width, height), ((width, height),), (1.0,)

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        return self.pixels[box.y : box.bottom, box.x : box.right]

    def close(self) -> None:
        """Does nothing: an image in memory has no file."""
