"""DICOM whole-slide images: folders of files, by wsidicom (the optional extra `dicom`)."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError, one_line
from monch_monai.geometry import LevelBox, Mpp, Size
from monch_monai.slides.slide import Slide


def is_dicom_folder(path: Path) -> bool:
    """Whether a path is a folder that holds DICOM files."""
    return path.is_dir() and bool(dicom_files(path))


def dicom_files(folder: Path) -> list[Path]:
    """DICOM files of a folder by name, in any letter case, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == ".dcm" and p.name[0] != "." and not p.is_dir())


class DicomSlide(Slide):
    """The pyramid of a folder of DICOM files.

    Raises:
        InputError: wsidicom is not installed, or cannot read them.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from wsidicom import WsiDicom
        except ImportError as error:
            raise InputError(f"{folder} is DICOM: pip install wsidicom to read it") from error
        self.name = str(folder)
        self.lock = threading.Lock()
        try:
            self.file = WsiDicom.open(folder)
            levels, mpp = list(self.file.levels), self.file.mpp
        except Exception as error:  # of many types, on files that are damaged
            reason = f"cannot be read as a DICOM slide ({one_line(error)})"
            raise InputError(f"{folder} {reason}: replace or remove it") from error
        self.indices = [level.level for level in levels]  # powers of two; levels may be missing
        self.sizes = tuple((level.size.width, level.size.height) for level in levels)
        self.size = Size(*self.sizes[0])
        self.downsamples = tuple(float(2**level.level) for level in levels)
        self.mpp = Mpp.stated(mpp.width, mpp.height)

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        with self.lock:
            image = self.file.read_region((box.x, box.y), self.indices[level], (box.width, box.height))
        return np.asarray(image.convert("RGB"))

    def close(self) -> None:
        """Closes the files."""
        self.file.close()
