"""How the pixels of a TIFF file lie in it: in which series, pages, planes, strips or tiles."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from monch_monai.errors import InputError

MOST_BYTES = 1 << 30
"""Of the largest strip or tile that is decoded."""
TO_TILES = "vips tiffsave IN OUT.tif --tile --pyramid --compression deflate --bigtiff"
"""Command that makes a tiled pyramid."""
RGB_NAMES = (["red", "green", "blue"], ["r", "g", "b"], [""] * 3)
"""Names, in lower case, of three channels in pages of their own that are a colour picture."""


def planes_of(series: tifffile.TiffPageSeries, file: tifffile.TiffFile, path: str | Path) -> int:
    """How many pages make the picture of a series: 3 where each channel has a page of its own, else 1.

    Raises:
        InputError: it is a stack, or has other channels than those of a colour.
    """
    page, sizes = series.keyframe, dict(zip(series.axes, series.shape, strict=True))
    number = int(np.prod([n for axis, n in sizes.items() if axis not in "YXS"], dtype=np.int64))
    if page.imagedepth > 1 or getattr(page, "tiledepth", 1) > 1:
        raise InputError(f"{path} holds a volume; expected one picture: save one layer of it")
    if number == 1:
        return 1
    names = _channel_names(file)
    colours = file.is_ome and number == sizes.get("C") == 3 == len(series.pages) and page.samplesperpixel == 1
    if colours and names in RGB_NAMES:
        return 3
    found = (
        f"{number} channels ({', '.join(names)})"
        if number == sizes.get("C") == len(names)
        else f"{number} pages of one size"
    )
    raise InputError(f"{path} holds {found}; expected one RGB picture: save it as one")


def _channel_names(file: tifffile.TiffFile) -> list[str]:
    """Names, in lower case, of the first image's channels in OME-XML; empty ones where they have none."""
    try:
        images: Any = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        channels = (images[0] if isinstance(images, list) else images)["Pixels"]["Channel"]
        return [str(one.get("Name", "")).lower() for one in (channels if isinstance(channels, list) else [channels])]
    except Exception:  # XML of another kind, or broken: tifffile's parser and the file raise whatever they like
        return []


def check_decoder(page: tifffile.TiffPage, path: str | Path) -> None:
    """Refuses what cannot be decoded.

    Raises:
        InputError: no decoder of the page's compression is installed, or exists.
    """
    try:
        page.compression == 1 or tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError as error:
        name = getattr(page.compression, "name", page.compression)
        remedy = "pip install imagecodecs" if "imagecodecs" in str(error) else f"convert it, such as by {TO_TILES}"
        raise InputError(f"{path} is compressed by {name}, for which there is no decoder: {remedy}") from error


def segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Height and width of a strip or tile."""
    return (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )


def segment_bytes(page: tifffile.TiffPage) -> int:
    """Bytes of a strip or tile, decoded."""
    height, width = segment_size(page)
    return int(height * width * (page.samplesperpixel if page.planarconfig == 1 else 1))


def check_segments(page: tifffile.TiffPage, path: str | Path) -> None:
    """Refuses tables of strips or tiles that the pixels cannot be read by.

    Raises:
        InputError: they do not fit the picture's size, or one is of more than `MOST_BYTES`.
    """
    height, width = segment_size(page)
    needed = -(-page.imagelength // height) * -(-page.imagewidth // width) if height and width else 0
    needed *= page.samplesperpixel if page.planarconfig == 2 else 1
    if not needed or min(len(page.dataoffsets), len(page.databytecounts)) < needed:
        size = f"{page.imagewidth}x{page.imagelength} px"
        raise InputError(f"{path} states {size} but does not list the data of these: replace or remove it")
    if segment_bytes(page) > MOST_BYTES and not stored_plainly(page):
        kind = f"a strip or tile of {segment_bytes(page) / 2**30:.1f} GiB"
        raise InputError(f"{path} holds {kind}, which is decoded at once: convert it to tiles, such as by {TO_TILES}")


def stored_plainly(page: tifffile.TiffPage) -> bool:
    """Whether samples lie in the file one after another, so that any rectangle can be read."""
    plain = page.is_contiguous and page.fillorder == 1 and page.predictor == 1 and not page.is_tiled
    return bool(plain)
