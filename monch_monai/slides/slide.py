"""Slides: which rectangle of which level is which pixels, and how large a pixel is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.data.density import lightened
from monch_monai.errors import InputError
from monch_monai.slides.geometry import Box, Mpp, Size


class Slide(ABC):
    """A pyramid of RGB pixels.

    Attributes:
        name: what messages call it.
        size: of level 0.
        mpp: of level 0; None where the file does not say.
        downsamples: px of level 0 per px of each level, finest first.
        sizes: (width, height) of each level, in its own px.
    """

    name: str
    size: Size
    mpp: Mpp | None
    downsamples: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def resolution(self) -> Mpp:
        """`mpp`, where it must be known.

        Raises:
            ValueError: it is not.
        """
        if self.mpp is None:
            raise ValueError(f"{self.name} does not say its resolution")
        return self.mpp

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """RGB pixels `[H, W, 3]` of a box of a level, in px of that level; those beyond the slide repeat its edge.

        Raises:
            InputError: the file is damaged there.
        """
        whole = Box(0, 0, *self.sizes[level])
        # At least one row and column of the slide, to repeat.
        x, y = (min(max(a, 0), n - 1) for a, n in ((box.x, whole.width), (box.y, whole.height)))
        right, bottom = min(max(box.right, x + 1), whole.width), min(max(box.bottom, y + 1), whole.height)
        inside = Box.between(x, y, right, bottom)
        try:
            pixels = self._pixels(level, inside)
        except Exception as error:  # decoders raise whatever they like on damaged files
            place = f"x {x}, y {y} of level {level}"
            raise InputError(f"{self.name} cannot be read at {place} ({reason(error)}): replace it") from error
        rows = np.clip(np.arange(box.y, box.bottom), inside.y, inside.bottom - 1) - inside.y
        columns = np.clip(np.arange(box.x, box.right), inside.x, inside.right - 1) - inside.x
        return pixels if inside == box else pixels[rows[:, None], columns[None, :]]

    @abstractmethod
    def _pixels(self, level: int, box: Box) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` of a box that lies inside the level."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file."""


class ImageSlide(Slide):
    """An RGB image in memory as a slide of one level.

    Args:
        pixels: `[H, W, 3]` uint8.
        mpp: µm per pixel.
        name: what messages call it.
    """

    def __init__(self, pixels: NDArray[np.uint8], mpp: float, name: str = "the image") -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(
                f"{name} is {pixels.dtype} {list(pixels.shape)}; expected RGB [H, W, 3] of 8 bits a channel"
            )
        self.pixels, self.name, self.mpp = pixels, name, Mpp(mpp, mpp)
        height, width = pixels.shape[:2]
        self.size, self.sizes, self.downsamples = Size(width, height), ((width, height),), (1.0,)

    def _pixels(self, level: int, box: Box) -> NDArray[np.uint8]:
        return self.pixels[box.y : box.bottom, box.x : box.right]

    def close(self) -> None:
        """Does nothing: there is no file."""


class LightenedSlide(Slide):
    """A slide as the network sees it: lightened to the tissue that it was trained on.

    Args:
        slide: as it is.
        factors: of each channel's optical density, as `monch_monai.data.density.lightening` gives them.
    """

    def __init__(self, slide: Slide, factors: Sequence[float]) -> None:
        self.slide, self.factors = slide, factors
        self.name, self.size, self.mpp = slide.name, slide.size, slide.mpp
        self.sizes, self.downsamples = slide.sizes, slide.downsamples

    def _pixels(self, level: int, box: Box) -> NDArray[np.uint8]:
        return lightened(self.slide._pixels(level, box), self.factors)

    def close(self) -> None:
        """Lets go of the file."""
        self.slide.close()


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
