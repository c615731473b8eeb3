"""Opens files as slides: by OpenSlide, tifffile or wsidicom."""

from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from monch_monai.errors import InputError
from monch_monai.slides.dicom import is_dicom_folder, open_dicom
from monch_monai.slides.geometry import COARSEST, Box, Mpp, Size
from monch_monai.slides.plain_tiff import TiffSlide
from monch_monai.slides.slide import Slide, reason

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi", ".dcm")


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


def _mpp(properties: Any) -> Mpp | None:
    values = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    try:
        x, y = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return Mpp(x, y) if 0 < x < COARSEST and 0 < y < COARSEST else None
