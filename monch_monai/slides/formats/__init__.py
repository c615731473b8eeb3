"""The formats of slides: by OpenSlide, by tifffile, and folders of DICOM files by wsidicom."""

from pathlib import Path

from openslide import OpenSlideError

from monch_monai.errors import InputError, one_line
from monch_monai.geometry import COARSEST_MPP, Mpp
from monch_monai.slides.formats.dicom import DicomSlide, is_dicom_folder
from monch_monai.slides.formats.openslide import OpenSlideSlide
from monch_monai.slides.formats.tiff import TiffSlide
from monch_monai.slides.slide import Slide

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi", ".dcm")

__all__ = ["SUFFIXES", "OpenSlideSlide", "TiffSlide", "is_dicom_folder", "open_slide"]


def open_slide(path: str | Path, mpp: float | None = None) -> Slide:
    """A slide file: by OpenSlide; a plain TIFF that it refuses by tifffile; a folder of DICOM files by wsidicom.

    Args:
        path: of the file or DICOM folder.
        mpp: µm per pixel of level 0, instead of what the file states.

    Raises:
        InputError: `path` does not exist or cannot be read, or does not state its mpp where `mpp` is not given.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a slide")
    slide: Slide
    if is_dicom_folder(path):
        slide = DicomSlide(path)
    else:
        try:
            slide = OpenSlideSlide(path)
        except OpenSlideError as refused:
            try:
                slide = TiffSlide(path)
            except Exception as error:
                reasons = f"OpenSlide: {one_line(refused)}; tifffile: {one_line(error)}"
                raise InputError(f"{path} cannot be read as a slide ({reasons}): replace or remove it") from error
    if mpp is not None:
        slide.mpp = Mpp(mpp, mpp)
    if slide.mpp is None:
        slide.close()
        missing = f"{path} states no resolution of up to {COARSEST_MPP:g} µm/px"
        raise InputError(f"{missing}: give --mpp, µm per pixel (40x is about 0.25)")
    return slide
