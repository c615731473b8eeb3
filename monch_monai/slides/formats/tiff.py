"""TIFF pyramids without a vendor's layout, and those that OpenSlide refuses: only what is asked for is read."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monch_monai.data.tiff import TiffPicture
from monch_monai.errors import InputError
from monch_monai.geometry import LevelBox, Size
from monch_monai.slides.slide import Slide


class TiffSlide(Slide):
    """The largest picture of a TIFF file.

    Raises:
        InputError: it is grey, or `TiffPicture` refuses it.
        TiffFileError: it is no TIFF.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.picture = TiffPicture(path)
        self.sizes, self.mpp = self.picture.sizes, self.picture.mpp
        self.size = Size(*self.sizes[0])
        self.downsamples = tuple(self.size.width / width for width, _ in self.sizes)
        if self.picture.grey:
            self.close()
            raise InputError(f"{path} is grey; expected a slide of H&E in RGB: give the coloured one")

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        return self.picture.read(level, box)

    def close(self) -> None:
        """Closes the file."""
        self.picture.close()
