"""The formats of slides: by OpenSlide, by tifffile, and folders of DICOM files by wsidicom."""

import logging
from pathlib import Path

from openslide import OpenSlide, OpenSlideError

from monch_monai.data.tiff_resolution import differ
from monch_monai.errors import InputError, one_line
from monch_monai.geometry import COARSEST_MPP, FINEST_MPP, Mpp
from monch_monai.slides.formats.dicom import DicomSlide, dicom_files, is_dicom_folder
from monch_monai.slides.formats.openslide import OpenSlideSlide
from monch_monai.slides.formats.tiff import TiffSlide
from monch_monai.slides.slide import Slide

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi", ".dcm")

GENERIC = "generic-tiff"
"""OpenSlide's name of tiled TIFFs of no vendor. It takes their first picture, and other colours as if they were RGB."""

LONGEST = 1 << 20
"""px of a side beyond which a size is damage: 26 cm at 40x."""

logger = logging.getLogger(__name__)

__all__ = ["SUFFIXES", "OpenSlideSlide", "TiffSlide", "dicom_files", "is_dicom_folder", "open_slide"]


def open_slide(path: str | Path, mpp: float | None = None) -> Slide:
    """A slide file: a vendor's by OpenSlide; another TIFF by tifffile; a folder of DICOM files by wsidicom.

    Args:
        path: of the file or DICOM folder.
        mpp: µm per pixel of level 0, instead of what the file states; a warning names both where they differ.

    Raises:
        InputError: `path` does not exist, cannot be read or states an impossible size, `mpp` is no resolution, or the
            file does not state its mpp where `mpp` is not given.
    """
    path, given = Path(path), None if mpp is None else Mpp(mpp, mpp)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a slide")
    slide = DicomSlide(path) if is_dicom_folder(path) else _of_file(path)
    if max(slide.size) > LONGEST:
        slide.close()
        raise InputError(f"{path} states {slide.size.width}x{slide.size.height} px, more than any slide: replace it")
    if given is not None and slide.mpp is not None and differ(given, slide.mpp):
        logger.warning("%s states %.4g µm/px, and is taken at %.4g, as --mpp states", path, slide.mpp.mean, given.mean)
    slide.mpp = slide.mpp if given is None else given
    if slide.mpp is None:
        slide.close()
        missing = f"{path} states no resolution of {FINEST_MPP:g} to {COARSEST_MPP:g} µm/px"
        raise InputError(f"{missing}: give --mpp, µm per pixel (40x is about 0.25)")
    return slide


def _of_file(path: Path) -> Slide:
    refused = "of no vendor's layout"
    try:
        if OpenSlide.detect_format(path) not in (None, GENERIC):
            return OpenSlideSlide(path)
    except OpenSlideError as error:
        refused = one_line(error)
    try:
        return TiffSlide(path)
    except InputError:
        raise
    except Exception as error:  # of many types, on files that are damaged
        reasons = f"OpenSlide: {refused}; tifffile: {one_line(error)}"
        raise InputError(f"{path} cannot be read as a slide ({reasons}): replace or remove it") from error
