"""Plain TIFF pyramids that OpenSlide refuses, such as those in strips, by tifffile: only what is asked for is read."""

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.geometry import LevelBox, Mpp, Size
from monch_monai.slides.slide import Slide

UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0, 4: 1000.0, 5: 1.0}
"""µm in TIFF's units of resolution: inch, cm, mm, µm."""

UM_PER_OME_UNIT = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "in": 25_400.0}
"""µm in units that OME-XML has; it means µm where it names none, and a unit of another kind is no length."""


class TiffSlide(Slide):
    """The first series of a TIFF file, of 8-bit RGB.

    Raises:
        InputError: it is of other pixels.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.lock = threading.Lock()
        with ExitStack() as unless_read:
            self.file = unless_read.enter_context(tifffile.TiffFile(path))
            self.pages = [level.keyframe for level in self.file.series[0].levels]
            for page in self.pages:
                if page.dtype != np.uint8 or page.samplesperpixel not in (3, 4) or page.planarconfig != 1:
                    found = f"{page.dtype} {list(page.shape)}"
                    raise InputError(f"{path} holds {found}; expected RGB, 8 bits a channel")
            self.mpp = _mpp(self.pages[0])
            unless_read.pop_all()
        self.sizes = tuple((page.imagewidth, page.imagelength) for page in self.pages)
        self.size = Size(*self.sizes[0])
        self.downsamples = tuple(self.size.width / width for width, _ in self.sizes)

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        page = self.pages[level]
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        across = -(-page.imagewidth // width)
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for row in range(box.y // height, -(-box.bottom // height)):
            for column in range(box.x // width, -(-box.right // width)):
                index = row * across + column
                with self.lock:
                    self.file.filehandle.seek(page.dataoffsets[index])
                    raw = self.file.filehandle.read(page.databytecounts[index])
                if len(raw) != page.databytecounts[index]:
                    raise InputError("the file ends too early")
                segment = page.decode(raw, index, jpegtables=page.jpegtables)[0]
                if segment is None:
                    segment = np.full((1, height, width, 3), 255, np.uint8)
                there = LevelBox(column * width, row * height, segment.shape[2], segment.shape[1])
                both = there.common(box)
                pixels[both.within(box)] = segment[0][both.within(there)][..., :3]
        return pixels

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _mpp(page: tifffile.TiffPage) -> Mpp | None:
    """From OME's metadata, where there are, else from the tags of resolution."""
    ome = tifffile.xml2dict(page.parent.ome_metadata) if page.parent.ome_metadata else {}
    images = ome.get("OME", {}).get("Image", {})
    attributes = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    if {"PhysicalSizeX", "PhysicalSizeY"} <= set(attributes):
        units = [attributes.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY"]
        if not set(units) <= set(UM_PER_OME_UNIT):
            return None
        x, y = (float(attributes[f"PhysicalSize{a}"]) * UM_PER_OME_UNIT[u] for a, u in zip("XY", units, strict=True))
        return Mpp.stated(x, y)
    um = UM_PER_UNIT.get(int(page.tags.valueof("ResolutionUnit", 1)))
    resolutions = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if um is None or any(not r or not r[0] or not r[1] for r in resolutions):
        return None
    x, y = (um * denominator / numerator for numerator, denominator in resolutions)
    return Mpp.stated(x, y)
