"""Maps of whole numbers, such as ids of nuclei, in PNG, TIFF or NumPy files, and maps brought to another resolution."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from monch_monai.datasets.folders import named
from monch_monai.errors import InputError, one_line
from monch_monai.geometry import NATIVE, NETWORK_MPP

SUFFIXES = (".png", ".tif", ".tiff", ".npy")


def find_map(folder: Path, name: str) -> Path | None:
    """The map of a name in a folder; None where it has none.

    Raises:
        InputError: it has several.
    """
    found = [path for suffix in SUFFIXES if (path := named(folder, f"{name}{suffix}")).is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} has {found[0].name} and {found[1].name}: remove one")
    return found[0] if found else None


def read_map(path: Path, largest: int) -> NDArray[np.int32]:
    """Map `[H, W]` of whole numbers from 0 to `largest`.

    Raises:
        InputError: the file cannot be read, is not of one channel, or holds another number.
    """
    try:
        values = _values(path)
    except Exception as error:  # decoders of damaged files raise errors of many types
        raise InputError(f"{path} cannot be read as a map ({one_line(error)}): write it again") from error
    if values.ndim != 2 or values.dtype.kind not in "buif":
        found = f"{path} is of shape {list(values.shape)} and type {values.dtype}"
        raise InputError(f"{found}; expected one channel of whole numbers: write it so")
    if values.size:
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= largest) or not np.array_equal(values, np.trunc(values)):
            raise InputError(f"{path} holds {low:g} to {high:g}; expected whole numbers from 0 to {largest}")
    return values.astype(np.int32)


def scale_of(mpp: float) -> float:
    """By how much pixels of `mpp` µm are enlarged for the network; 1 within 5 % of its resolution."""
    return 1.0 if abs(mpp / NETWORK_MPP - 1) <= NATIVE else mpp / NETWORK_MPP


def resized_image(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]`, enlarged by bicubic interpolation, or shrunk to the means of areas."""
    if scale == 1:
        return image
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), method))


def resized_map(values: NDArray[Any], scale: float) -> NDArray[Any]:
    """Map `[H, W]`, each pixel that whose centre is nearest."""
    if scale == 1:
        return values
    rows, columns = (
        np.minimum(((np.arange(max(1, round(n * scale))) + 0.5) / scale).astype(int), n - 1) for n in values.shape
    )
    return values[np.ix_(rows, columns)]


def _values(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        loaded: NDArray[Any] = np.load(path, allow_pickle=False)
        return loaded
    if suffix != ".png":
        with tifffile.TiffFile(path) as file:
            if file.pages[0].compression in (1, 8, 32946, 32773):  # those that need no further package
                return np.asarray(file.asarray())
    with Image.open(path) as picture:
        return np.asarray(picture)
