"""Slides as files: which rectangle of which level is which pixels, and how large a pixel is."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from monch_monai.errors import InputError
from monch_monai.slides.geometry import COARSEST, Box, Mpp, Size

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi", ".dcm")


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


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide. What was not scanned is white (or the background that the file names)."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.file = openslide.OpenSlide(path)
        properties = self.file.properties
        self.mpp = _mpp(properties)
        self.size = Size(*self.file.dimensions)
        self.sizes = tuple(self.file.level_dimensions)
        self.downsamples = tuple(float(d) for d in self.file.level_downsamples)
        self.background = "#" + properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")

    def _pixels(self, level: int, box: Box) -> NDArray[np.uint8]:
        place = (round(box.x * self.downsamples[level]), round(box.y * self.downsamples[level]))
        rgba = self.file.read_region(place, level, (box.width, box.height))
        ground = Image.new("RGB", rgba.size, self.background)
        ground.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(ground)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def open_slide(path: str | Path, mpp: float | None = None) -> Slide:
    """A slide file: by OpenSlide; a plain TIFF that it refuses by tifffile; a folder of DICOM files by wsidicom.

    Args:
        path: of the file or DICOM folder.
        mpp: µm per pixel of level 0, instead of what the file says.

    Raises:
        InputError: it cannot be read, or says nothing of its mpp and `mpp` is not given.
    """
    from monch_monai.slides.dicom import is_dicom_folder, open_dicom
    from monch_monai.slides.plain_tiff import TiffSlide

    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a slide")
    slide: Slide
    if is_dicom_folder(path):
        slide = open_dicom(path)
    else:
        try:
            slide = OpenSlideSlide(path)
        except openslide.OpenSlideError as refused:
            try:
                slide = TiffSlide(path)
            except Exception as error:
                reasons = f"OpenSlide: {reason(refused)}; tifffile: {reason(error)}"
                raise InputError(f"{path} cannot be read as a slide ({reasons}): replace or remove it") from error
    if mpp is not None:
        slide.mpp = Mpp(mpp, mpp)
    if slide.mpp is None:
        slide.close()
        raise InputError(f"{path} does not say its resolution: give --mpp, µm per pixel (40x is about 0.25)")
    return slide


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _mpp(properties: Any) -> Mpp | None:
    values = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    try:
        x, y = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return Mpp(x, y) if 0 < x < COARSEST and 0 < y < COARSEST else None
