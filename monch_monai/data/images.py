"""Picture files in and out: PNG, JPEG, TIFF, BMP and NIfTI, always as rows then columns.

A NIfTI array has columns first, its x axis: reading transposes it, and writing transposes it back.
"""

import hashlib
import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from monch_monai.class_table import IGNORE_INDEX
from monch_monai.data.nifti import NIFTI_SUFFIXES, is_nifti, open_nifti, read_nifti
from monch_monai.data.tiff import TiffPicture, is_tiff
from monch_monai.data.tiff_layout import TO_TILES
from monch_monai.data.tiff_resolution import differ
from monch_monai.errors import InputError, one_line
from monch_monai.files import refuse_twins, write_atomically
from monch_monai.geometry import LevelBox, Mpp

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *NIFTI_SUFFIXES)
MIN_SIZE = 32
"""Smallest height and width that is segmented, in pixels."""

GREY = 8
"""Largest range of a grey pixel's colours, of 255; JPEG adds some."""

MOST_PIXELS = 178_956_970
"""Pixels of the largest picture: Pillow's limit, for TIFFs too."""

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

logger = logging.getLogger(__name__)


def stem(path: str | Path) -> str:
    """File name without folder and image suffix: `a/b.nii.gz` gives `b`."""
    name = Path(path).name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def find_images(path: str | Path | None) -> list[Path]:
    """Image files of a folder (not of its subfolders), sorted by name, or the one file given.

    Raises:
        InputError: `path` is None, names no file or folder, a folder without images, or two images whose results would
            have the same names.
    """
    if path is None:
        raise InputError("no images given: give --dataset_dir, a folder of images or one image")
    source = Path(path)
    wanted = f"an image ({', '.join(SUFFIXES)}; slides are for inference_wsi.json)"
    if source.is_dir():
        pictures = (p for p in source.iterdir() if p.name.lower().endswith(SUFFIXES) and not p.name.startswith("._"))
        images = sorted(p for p in pictures if p.is_file())  # "._" is macOS's shadow of another file
        if not images:
            raise InputError(f"{source} holds no image: give a folder with at least {wanted}")
    elif source.is_file() and source.name.lower().endswith(SUFFIXES):
        images = [source]
    else:
        raise InputError(f"{source} is neither a folder nor {wanted}: give one of these")
    refuse_twins(images, lambda image: f"{stem(image)}_classes")
    return images


class ReadableImages:
    """The images to segment: those that can be decoded whole, each tried once before the work starts.

    Damage shows only in decoding: Pillow's `verify` accepts a JPEG whose last tenth is missing. Decoding 2048x2048 px
    takes one core 0.04 s (JPEG) to 0.10 s (PNG), segmenting them seconds.

    Args:
        dataset_dir: a folder of images, or one image.
        output_dir: where results go; it must not be the folder of the images.
        mpp: at which the images are segmented, µm per pixel; a warning names each TIFF that states another.

    Attributes:
        items: one dictionary an image, with its path as `image`.
        unreadable: the other files, each with the reason.
        fingerprint: SHA-256 over names and contents of the readable images.

    Raises:
        InputError: no image is readable, `output_dir` is the folder of the images, or `mpp` is no resolution.
    """

    def __init__(self, dataset_dir: str | Path | None, output_dir: str | Path, mpp: float | None = None) -> None:
        given = None if mpp is None else Mpp(mpp, mpp)
        paths = find_images(dataset_dir)
        if paths[0].parent.resolve() == Path(output_dir).resolve():
            raise InputError(f"output_dir {output_dir} is the folder of the images: give another --output_dir")
        self.items: list[dict[str, str]] = []
        self.unreadable: dict[Path, str] = {}
        contents = hashlib.sha256()
        for path in tqdm(paths, desc="checking images", leave=False, mininterval=1):
            try:
                pixels = read_rgb(path)
            except InputError as error:
                logger.error("%s", error)
                self.unreadable[path] = str(error)
            else:
                if _color_range(pixels) <= GREY:
                    logger.warning("%s has no colour: predictions for it mean nothing, since MONCH needs H&E", path)
                if given is not None:
                    compare_mpp(path, given)
                self.items.append({"image": str(path)})
                contents.update(path.name.encode() + path.read_bytes())
        self.fingerprint = contents.hexdigest()
        if not self.items:
            raise InputError(f"none of the {len(paths)} images can be read: {next(iter(self.unreadable.values()))}")


def read_rgb(path: str | Path) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]`, 0 to 255, of a file, in the pixel grid as stored (an EXIF rotation is not applied).

    Transparent pixels come out white, as glass does.

    Raises:
        InputError: the file is no image, is damaged, is not of 8 bits a channel, or has a side below 32 px.
    """
    try:
        image = read_nifti(path) if is_nifti(path) else _read_picture(path)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "too many pixels") from error
    except Exception as error:  # decoders of damaged files raise errors of many types
        raise InputError(f"{path} cannot be read as an image ({_reason(error)}): replace or remove it") from error
    refuse_small(image, str(path))
    return image


def refuse_small(image: NDArray[np.uint8], name: str) -> None:
    """Refuses an image `[H, W, 3]` with a side below 32 px.

    Raises:
        InputError: the image has; the message begins with `name`.
    """
    if min(image.shape[:2]) < MIN_SIZE:
        raise InputError(f"{name} is {image.shape[1]}x{image.shape[0]} px; at least {MIN_SIZE}x{MIN_SIZE} is needed")


def read_class_map(path: str | Path, number: int) -> NDArray[np.uint8]:
    """Class map `[H, W]` of a single-channel picture or NIfTI file, of values below `number` and 255.

    Raises:
        InputError: the file cannot be read, is not of one channel, or holds another value.
    """
    try:
        if is_nifti(path):
            values = np.asarray(open_nifti(path).dataobj).squeeze().T
        else:
            with Image.open(path) as picture:
                values = np.asarray(picture)
    except Exception as error:
        raise InputError(f"{path} cannot be read as a class map ({_reason(error)}): replace or remove it") from error
    return check_class_map(values, str(path), number)


def check_class_map(values: NDArray[Any], name: str, number: int) -> NDArray[np.uint8]:
    """`values` as a class map `[H, W]` uint8.

    Raises:
        InputError: `values` are not of two axes, or one is neither below `number` nor 255; the message begins with
            `name`.
    """
    if values.ndim != 2:
        raise InputError(f"{name} is no class map: expected one channel, got shape {list(values.shape)}")
    known = (values < number) | (values == IGNORE_INDEX)
    if values.dtype != np.uint8:
        known &= (values >= 0) & (values == np.trunc(values))
    unknown = values[~known]
    if unknown.size:
        raise InputError(f"{name} holds {unknown[0].item()}; its class map holds 0 to {number - 1} and 255")
    return values.astype(np.uint8)


def write_class_map(path: str | Path, class_map: NDArray[np.uint8], like: str | Path) -> None:
    """Writes a class map `[H, W]` uint8 to a PNG, or to NIfTI with the geometry of the NIfTI image `like`. Atomic."""
    if is_nifti(path):
        source = open_nifti(like)
        channels_last = source.get_data_dtype().names is None  # else RGB24: one record a pixel
        values = class_map.T.reshape(source.shape[:2] + (1,) * max(len(source.shape) - channels_last - 2, 0))
        write_atomically(path, lambda part: nib.Nifti1Image(values, source.affine).to_filename(part))
    else:
        write_picture(path, class_map)


def write_picture(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Writes `[H, W]` or `[H, W, 3]` uint8 as a picture. Atomic."""
    write_atomically(path, lambda part: Image.fromarray(pixels).save(part))


def compare_mpp(path: Path, given: Mpp) -> None:
    """Warns where a TIFF states another resolution than it is segmented at."""
    if is_nifti(path) or not is_tiff(path):
        return
    with closing(TiffPicture(path)) as picture:
        if picture.mpp is not None and differ(picture.mpp, given):
            stated = f"{picture.mpp.mean:.4g}"
            logger.warning("%s states %s µm/px, and is segmented at --mpp %.4g: is that right?", path, stated, given.x)


def _color_range(pixels: NDArray[np.uint8]) -> int:
    """Largest difference between the channels of one pixel of `[H, W, 3]`; `np.ptp` takes 17 times as long."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    highest = np.maximum(np.maximum(red, green), blue)
    return int((highest - np.minimum(np.minimum(red, green), blue)).max())


def _read_picture(path: str | Path) -> NDArray[np.uint8]:
    if is_tiff(path):
        return _read_tiff(path)
    with Image.open(path) as picture:
        # Pillow's mode of 16-bit RGB is "RGB" too, without the low byte; the raw mode of its decoder has the bits.
        sixteen = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", []))
        if picture.mode not in EIGHT_BIT_MODES or sixteen:
            found = "of 16 bits" if sixteen else f"of mode {picture.mode}"
            raise InputError(f"{path} is {found}; expected 8 bits a channel: convert it to 8-bit RGB")
        if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
            colour = picture.convert("RGBA")
            return np.asarray(Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB"))
        return np.asarray(picture.convert("RGB"))


def _read_tiff(path: str | Path) -> NDArray[np.uint8]:
    with closing(TiffPicture(path)) as picture:
        width, height = picture.sizes[0]
        if width * height > MOST_PIXELS:
            raise _too_large(path, f"{width}x{height} px")
        return picture.read(0, LevelBox(0, 0, width, height))


def _too_large(path: str | Path, found: str) -> InputError:
    remedy = f"cut it, or make a slide of it for inference_wsi.json, such as by {TO_TILES}"
    return InputError(f"{path} is of {found}, an image of at most {MOST_PIXELS:,}: {remedy}")


def _reason(error: Exception) -> str:
    text = one_line(error)
    return "not an image" if text.startswith("cannot identify image file") else text
