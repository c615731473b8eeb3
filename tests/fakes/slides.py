"""Slides made by code, with nuclei of known place, class and size, and a predictor that reads their colours."""

import io
import struct
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.predict import Prediction

GLASS, GROUND = (243, 243, 243), (232, 190, 214)
COLOURS = np.array([(120, 40, 140), (40, 40, 160), (160, 60, 60), (60, 60, 60), (40, 120, 140)])
"""Of the five nucleus classes."""


class Nucleus(NamedTuple):
    """A disc: centre and radius in px of level 0, and class."""

    x: float
    y: float
    radius: float
    index: int


def colours(tiles):
    """Prediction for RGB tiles: the class whose colour is nearest, where one is near."""
    channels = np.moveaxis(tiles, -1, 0).astype(np.int16)
    nearest = np.full(channels.shape[1:], 90, np.int16)
    class_map = np.zeros(channels.shape[1:], np.uint8)
    for index, colour in enumerate(COLOURS.astype(np.int16), start=1):
        distance = sum(np.abs(channel - value) for channel, value in zip(channels, colour, strict=True))
        class_map[distance < nearest] = index
        nearest = np.minimum(nearest, distance)
    of_class = class_map[:, None] == np.arange(1, 6, dtype=np.uint8)[:, None, None]
    return Prediction.of_classes(class_map, np.where(of_class, np.float16(0.75), np.float16(0)))


colours.class_table = PANNUKE


def paint(nuclei, size, ground=GROUND):
    """`[H, W, 3]` of discs on a ground; a pixel is of a disc when its centre is."""
    width, height = size
    pixels = np.full((height, width, 3), ground, np.uint8)
    for n in nuclei:
        x, y, radius, _ = n
        left, top = max(0, int(x - radius) - 1), max(0, int(y - radius) - 1)
        part = pixels[top : int(y + radius) + 2, left : int(x + radius) + 2]
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        inside = (columns + left + 0.5 - x) ** 2 + (rows + top + 0.5 - y) ** 2 <= radius**2
        part[inside] = COLOURS[n.index - 1]
    return pixels


def write_slide(path, pixels, mpp=0.25, levels=2, tile=256, **options):
    """A tiled TIFF pyramid that OpenSlide reads; each level half of the one before. `mpp` None says no resolution."""
    resolution = {} if mpp is None else {"resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(levels):
            if mpp is not None:
                resolution["resolution"] = (1e4 / mpp / 2**level,) * 2
            file.write(
                pixels, photometric="rgb", tile=(tile, tile), compression="zlib", subfiletype=int(level > 0),
                metadata=None, **resolution, **options,
            )  # fmt: skip
            height, width = (n // 2 * 2 for n in pixels.shape[:2])
            quads = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).astype(np.uint16)
            pixels = (quads.sum(axis=(1, 3)) // 4).astype(np.uint8)
    return path


def on_seams(size, side):
    """Nuclei on the seams and corners of squares of `side` px, and others in between; none touches another."""
    width, height = size
    corners = [(x, y) for x in range(side, width, side) for y in range(side, height, side)]
    edges = [(x, y + side // 2) for x, y in corners] + [(x + side // 2, y) for x, y in corners]
    inner = [(x - side // 3 + 0.5, y - side // 4 + 0.25) for x, y in corners]
    rims = [(5.0, 7.0), (width - 6.0, height - 4.0), (width / 2, 3.0)]
    places = [p for p in corners + edges + inner if p[0] < width - 20 and p[1] < height - 20] + rims
    return [Nucleus(x, y, 7 + i % 9, 1 + i % 5) for i, (x, y) in enumerate(places)]


def write_mirax(path, pixels, at=(4, 3), grid=8, tile=64, mpp=0.25):
    """A MIRAX slide (openslide.org/formats/mirax) of `grid` x `grid` tiles in JPEG, of which only those that `pixels`
    fill, from column and row `at` on, were scanned.
    """
    folder, head = path.with_suffix(""), b"01.02" + b"ABCDEF0123456789" * 2
    folder.mkdir()
    Image.new("RGB", (64, 48), "white").save(path, "JPEG")
    general = {
        "SLIDE_VERSION": "01.02", "SLIDE_ID": head[5:].decode(), "IMAGENUMBER_X": grid, "IMAGENUMBER_Y": grid,
        "CameraImageDivisionsPerSide": 1, "OBJECTIVE_MAGNIFICATION": 40,
    }  # fmt: skip
    hierarchy = {
        "HIER_COUNT": 1, "HIER_0_NAME": "Slide zoom level", "HIER_0_COUNT": 1, "HIER_0_VAL_0": "ZoomLevel_0",
        "HIER_0_VAL_0_SECTION": "LEVEL_0", "NONHIER_COUNT": 0, "INDEXFILE": "Index.dat",
    }  # fmt: skip
    level = {
        "OVERLAP_X": 0, "OVERLAP_Y": 0, "MICROMETER_PER_PIXEL_X": mpp, "MICROMETER_PER_PIXEL_Y": mpp,
        "IMAGE_CONCAT_FACTOR": 0, "IMAGE_FORMAT": "JPEG", "IMAGE_FILL_COLOR_BGR": 16777215, "DIGITIZER_WIDTH": tile,
        "DIGITIZER_HEIGHT": tile,
    }  # fmt: skip
    files = {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"}
    sections = {"GENERAL": general, "HIERARCHICAL": hierarchy, "DATAFILE": files, "LEVEL_0": level}
    lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in sections.items()]
    (folder / "Slidedat.ini").write_text("".join(lines))
    data, records = head, []
    for row in range(pixels.shape[0] // tile):
        for column in range(pixels.shape[1] // tile):
            part, jpeg = pixels[row * tile :][:tile, column * tile :][:, :tile], io.BytesIO()
            Image.fromarray(part).save(jpeg, "JPEG", quality=98, subsampling=0)
            records.append(((at[1] + row) * grid + at[0] + column, len(data), len(jpeg.getvalue()), 0))
            data += jpeg.getvalue()
    (folder / "Data0000.dat").write_bytes(data)
    level_at = len(head) + 8  # after where levels and other data begin
    index = head + struct.pack("<6i", level_at, 0, level_at + 4, 0, level_at + 12, len(records))
    (folder / "Index.dat").write_bytes(
        index + struct.pack("<i", 0) + b"".join(struct.pack("<4i", *r) for r in records) + bytes(16)
    )
    return path
