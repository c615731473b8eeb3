"""NIfTI files as RGB images. An array has columns first, its x axis: reading transposes it."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")


def is_nifti(path: str | Path) -> bool:
    """Whether the file's name is a NIfTI file's."""
    return str(path).lower().endswith(NIFTI_SUFFIXES)


def read_nifti(path: str | Path) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` of a NIfTI file of one slice: of RGB24, or with a last axis of 3.

    Raises:
        InputError: it is of another shape, or holds other values than whole ones from 0 to 255.
    """
    source = open_nifti(path)
    values = np.asarray(source.dataobj)
    if values.dtype.names is not None:  # RGB24: one record a pixel
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    if values.ndim == 4 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 3 or values.shape[-1] != 3:
        raise InputError(f"{path} is of shape {list(source.shape)}; expected RGB24 or a last axis of 3")
    if values.min() < 0 or values.max() > 255 or (values != np.round(values)).any():
        raise InputError(f"{path} holds values from {values.min()} to {values.max()}; expected whole ones, 0 to 255")
    return np.ascontiguousarray(values.astype(np.uint8).swapaxes(0, 1))  # columns, rows -> rows, columns


def open_nifti(path: str | Path) -> nib.Nifti1Image:
    """A NIfTI file, of which nothing but the header is read.

    Raises:
        InputError: it is of another of nibabel's formats.
    """
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{path} is not a NIfTI image")
    return image
