"""Pictures in which no flip, transposition or channel swap goes unseen, and files of them."""

import struct
import zlib

import nibabel as nib
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 70
GROUND, CORNER, FOOT = (200, 150, 180), (60, 20, 100), (90, 230, 40)
AFFINE = np.array([[0.25, 0, 0, 3], [0, -0.5, 0, -7], [0, 0, 2, 11], [0, 0, 0, 1]], dtype=float)
RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def picture() -> np.ndarray:
    """`[40, 70, 3]`: the top left 16x16 and the bottom 8 rows of columns 24 to 32 stand out from the ground."""
    pixels = np.full((HEIGHT, WIDTH, 3), GROUND, dtype=np.uint8)
    pixels[:16, :16] = CORNER
    pixels[32:, 24:32] = FOOT
    return pixels


def class_picture() -> np.ndarray:
    """`[40, 70]`: every class and the ignored value, each in its own place."""
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    classes[:16, :16] = 1
    classes[32:, 24:32] = 2
    classes[5, 60:] = 3
    classes[6:20, 69] = 4
    classes[39, 0] = 5
    classes[39, 69] = 255
    return classes


def save_picture(path, pixels=None):
    Image.fromarray(picture() if pixels is None else pixels).save(path)
    return path


def save_jpeg(path):
    Image.fromarray(picture()).save(path, quality=98, subsampling=0)
    return path


def save_rgb24(path, pixels=None, depth=True):
    """NIfTI of one RGB record a voxel, `[W, H, 1]` or `[W, H]`."""
    columns_first = np.ascontiguousarray((picture() if pixels is None else pixels).swapaxes(0, 1))
    records = columns_first.view(RGB24)
    nib.save(nib.Nifti1Image(records if depth else records[..., 0], AFFINE), path)
    return path


def save_last_axis_3(path, pixels=None, depth=False):
    """NIfTI of `[W, H, 3]` or `[W, H, 1, 3]`."""
    columns_first = (picture() if pixels is None else pixels).swapaxes(0, 1)
    nib.save(nib.Nifti1Image(columns_first[:, :, None] if depth else columns_first, AFFINE), path)
    return path


def save_16_bit_rgb_png(path):
    """PNG of 16 bits a channel, which Pillow cannot write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    wide = (picture().astype(">u2") * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
