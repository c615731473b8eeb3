"""Files of images: whole slides, and pictures as slides of one level."""

import os
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from monch_monai.data.images import SUFFIXES as PICTURE_SUFFIXES
from monch_monai.data.images import compare_mpp, read_rgb, refuse_small
from monch_monai.errors import InputError, shown
from monch_monai.geometry import NETWORK_MPP
from monch_monai.slides.formats import SUFFIXES as SLIDE_SUFFIXES
from monch_monai.slides.formats import is_dicom_folder, open_slide
from monch_monai.slides.slide import ImageSlide, Slide

Image = NDArray[np.uint8] | str | Path
SUFFIXES = tuple(dict.fromkeys((*PICTURE_SUFFIXES, *SLIDE_SUFFIXES)))


def is_slide(path: str | Path) -> bool:
    """Whether an image is a whole slide: a TIFF is where OpenSlide can read it, that is where it is tiled."""
    name = str(path).lower()
    if name.endswith((".tif", ".tiff")):
        return openslide.OpenSlide.detect_format(path) is not None
    return name.endswith(SLIDE_SUFFIXES)


def open_image(path: str | Path, mpp: float | None = None) -> Slide:
    """An image of either kind; a picture is read whole.

    Args:
        path: its file.
        mpp: µm per pixel of a picture, by default 0.25, and of a slide that states none.

    Raises:
        InputError: the file cannot be read, or is a slide that states no resolution where `mpp` is None.
    """
    if not is_slide(path):
        return ImageSlide(read_rgb(path), NETWORK_MPP if mpp is None else mpp, Path(path).name)
    try:
        return open_slide(path)
    except InputError:
        if mpp is None:
            raise
        return open_slide(path, mpp)


def open_pixels(image: Image, mpp: float | None = None) -> Slide:
    """An image of either kind, or pixels in memory.

    Args:
        image: its file, the folder of a DICOM slide, or RGB pixels `[H, W, 3]` uint8.
        mpp: µm per pixel of level 0; None is 0.25 of pixels and pictures, and what the file states of slides.

    Raises:
        InputError: the image is of another kind, has a side below 32 px or cannot be read, `mpp` is no resolution, or
            the image is a slide that states none where `mpp` is None.
    """
    taken = NETWORK_MPP if mpp is None else mpp
    if isinstance(image, np.ndarray):
        slide = ImageSlide(image, taken)
        refuse_small(image, slide.name)
        return slide
    expected = "give a picture, a slide or an array [H, W, 3]"
    if not isinstance(image, str | os.PathLike) or not str(image):
        raise InputError(f"image is {shown(image)}; {expected} uint8, such as numpy.asarray makes of an image")
    path = Path(image)
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises where a name is too long)
        raise InputError(f"{path} does not exist: {expected}")
    if path.is_dir():
        if not is_dicom_folder(path):
            raise InputError(f"{path} is a folder without a DICOM slide: {expected}, one after another")
        return open_slide(path, mpp)
    if is_slide(path):
        return open_slide(path, mpp)
    slide = ImageSlide(read_rgb(path), taken, str(path))
    compare_mpp(path, slide.resolution)
    return slide
