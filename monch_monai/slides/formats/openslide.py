"""Slides read by OpenSlide."""

from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from monch_monai.geometry import LevelBox, Mpp, Size
from monch_monai.slides.slide import Slide


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide. What was not scanned is white, or of the background that the file names.

    Raises:
        OpenSlideError: OpenSlide cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.file = openslide.OpenSlide(path)
        properties = self.file.properties
        self.mpp = _mpp(properties)
        self.size = Size(*self.file.dimensions)
        self.sizes = tuple(self.file.level_dimensions)
        self.downsamples = tuple(float(d) for d in self.file.level_downsamples)
        self.background = "#" + properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        place = (round(box.x * self.downsamples[level]), round(box.y * self.downsamples[level]))
        rgba = self.file.read_region(place, level, (box.width, box.height))
        ground = Image.new("RGB", rgba.size, self.background)
        ground.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(ground)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _mpp(properties: Any) -> Mpp | None:
    values = [properties.get(name) for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    try:
        x, y = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return Mpp.stated(x, y)
