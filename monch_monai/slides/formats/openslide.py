"""Slides read by OpenSlide."""

from pathlib import Path
from typing import Any

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from monch_monai.geometry import Level0Box, LevelBox, Mpp, Size
from monch_monai.slides.slide import Slide


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide. What was not scanned is white, or of the background that the file names.

    Where the file states the bounds of what was scanned (MIRAX, Leica's SCN, Hamamatsu's), the slide is that part,
    as in QuPath, and `origin` its place; bounds that lie outside the file's level 0 count as none.

    Raises:
        OpenSlideError: OpenSlide cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.file = openslide.OpenSlide(path)
        properties = self.file.properties
        self.mpp = _mpp(properties)
        self.downsamples = tuple(float(d) for d in self.file.level_downsamples)
        whole = Level0Box(0, 0, *self.file.dimensions)
        stated = _bounds(properties, whole)
        scanned = stated.common(whole)
        self.origin, self.size = (scanned.x, scanned.y), Size(scanned.width, scanned.height)
        self.shown_from = (0, 0) if scanned == stated else self.origin
        self.sizes = tuple(self.file.level_dimensions)
        if scanned != whole:
            self.sizes = tuple(
                (max(1, round(self.size.width / d)), max(1, round(self.size.height / d))) for d in self.downsamples
            )
        self.background = "#" + properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        x, y = (
            round(first * self.downsamples[level]) + o for first, o in zip((box.x, box.y), self.origin, strict=True)
        )
        rgba = self.file.read_region((x, y), level, (box.width, box.height))
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


def _bounds(properties: Any, whole: Level0Box) -> Level0Box:
    """The part of level 0 that was scanned, by `openslide.bounds-*`, which may reach beyond it; the whole where they do
    not meet it.
    """
    try:
        x, y, width, height = (int(properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return whole
    stated = Level0Box(x, y, width, height)
    inside = stated.common(whole)
    return stated if inside.width and inside.height else whole
