"""The pixels of TIFF files as RGB, for pictures and slides alike: one file has the same pixels through every door.

What is stored as RGB, grey, a palette, CMYK or YCbCr of 8 bits is converted as Pillow converts it, over white where
it is transparent; everything else is refused by its name. Pixels are as stored: a tag of orientation is not applied.
"""

import logging
import threading
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from monch_monai.data.tiff_colours import Colours
from monch_monai.data.tiff_layout import (
    check_decoder,
    check_segments,
    planes_of,
    segment_bytes,
    segment_size,
    stored_plainly,
)  # fmt: skip
from monch_monai.data.tiff_resolution import resolution
from monch_monai.errors import InputError
from monch_monai.geometry import LevelBox

CACHE_BYTES, STRIPS_BYTES = 32 << 20, 512 << 20
"""Of decoded tiles, and of decoded strips, which reach across the slide, that are kept."""
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF files, little- and big-endian, and of the larger BigTIFF."""


logging.getLogger("tifffile").setLevel(logging.CRITICAL)
"""Of a damaged file tifffile logs a line a tag; what cannot be used is refused here in one line."""


class TiffPicture:
    """The largest picture of a TIFF file and its smaller levels.

    Args:
        path: of the file.

    Attributes:
        sizes: (width, height) of each level, finest first.
        mpp: of level 0; None where the file does not state it.
        grey: whether it is stored without colours.

    Raises:
        InputError: it holds a stack, other channels than those of a colour, more than 8 bits a channel, or colours of
            another kind. Its tables of strips or tiles do not fit its size. A strip of it is of more than 1 GiB. There
            is no decoder of its compression. It is one of several files.
        TiffFileError: it is no TIFF.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.lock, self.kept = path, threading.RLock(), 0
        self.decoded: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        with ExitStack() as unless_read:
            self.file = unless_read.enter_context(tifffile.TiffFile(path))
            series = max(self.file.series, key=lambda one: one.keyframe.imagewidth * one.keyframe.imagelength)
            planes = planes_of(series, self.file, path)
            self.pages = [list(level.pages)[:planes] for level in series.levels]
            self.keyframes = [level.keyframe for level in series.levels]
            self.colours = [Colours(page, planes, path) for page in self.keyframes]
            for page in self.keyframes:
                check_decoder(page, path)
                check_segments(page, path)
            if any(page is None or page.parent is not self.file for level in self.pages for page in level):
                raise InputError(f"{path} is one of several files that make a picture: save it as one")
            self.mpp = resolution(self.keyframes[0], path)
            unless_read.pop_all()
        self.sizes = tuple((page.imagewidth, page.imagelength) for page in self.keyframes)
        self.grey = self.colours[0].grey
        kept = CACHE_BYTES if self.keyframes[0].is_tiled else STRIPS_BYTES
        self.most = max(kept, *(segment_bytes(page) for page in self.keyframes))

    def read(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` of a box that lies inside a level.

        Raises:
            ValueError: the file ends too early; on damaged data decoders raise whatever they like.
        """
        keyframe, pages = self.keyframes[level], self.pages[level]
        separate = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
        channels = [self._read(level, page, plane, box) for page in range(len(pages)) for plane in range(separate)]
        return self.colours[level](channels[0] if len(channels) == 1 else np.concatenate(channels, axis=2))

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def _read(self, level: int, page: int, plane: int, box: LevelBox) -> NDArray[np.uint8]:
        """Stored samples `[H, W, S]` of a box, of one page and plane."""
        keyframe = self.keyframes[level]
        samples = keyframe.samplesperpixel if keyframe.planarconfig == 1 else 1
        if stored_plainly(keyframe) and self.pages[level][page].is_contiguous:
            shape = (keyframe.imagelength, keyframe.imagewidth, samples)
            start = self.pages[level][page].dataoffsets[0] + plane * shape[0] * shape[1]
            stored = np.memmap(self.path, np.uint8, "r", start, shape)
            return np.array(stored[box.y : box.bottom, box.x : box.right])
        height, width = segment_size(keyframe)
        across, down = -(-keyframe.imagewidth // width), -(-keyframe.imagelength // height)
        pixels = np.empty((box.height, box.width, samples), np.uint8)
        for row in range(box.y // height, -(-box.bottom // height)):
            for column in range(box.x // width, -(-box.right // width)):
                segment = self._segment(level, page, (plane * down + row) * across + column)
                there = LevelBox(column * width, row * height, segment.shape[1], segment.shape[0])
                both = there.common(box)
                pixels[both.within(box)] = segment[both.within(there)]
        return pixels

    def _segment(self, level: int, page: int, index: int) -> NDArray[np.uint8]:
        """A strip or tile `[h, w, S]`, decoded; those used last are kept, so that one strip is not decoded a region."""
        key, keyframe = (level, page, index), self.keyframes[level]
        with self.lock:
            if key in self.decoded:
                self.decoded.move_to_end(key)
                return self.decoded[key]
            where = self.pages[level][page]
            raw = _raw(self.file, where.dataoffsets[index], where.databytecounts[index])
            if segment_bytes(keyframe) > CACHE_BYTES:  # other threads wait for it
                return self._keep(key, _decode(keyframe, index, raw, self.colours[level].blank))
        return self._keep(key, _decode(keyframe, index, raw, self.colours[level].blank))

    def _keep(self, key: tuple[int, int, int], segment: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with self.lock:
            self.kept += 0 if key in self.decoded else segment.nbytes
            self.decoded[key] = segment
            while self.kept > self.most:
                self.kept -= self.decoded.popitem(last=False)[1].nbytes
        return segment


def _raw(file: tifffile.TiffFile, offset: int, count: int) -> bytes | None:
    """Encoded bytes; None of a strip or tile that was never written, as writers leave out what is blank."""
    if not count:
        return None
    if offset + count > file.filehandle.size:  # before so many bytes are made room for
        raise ValueError("the file ends too early")
    file.filehandle.seek(offset)
    raw: bytes = file.filehandle.read(count)
    return raw


def _decode(
    keyframe: tifffile.TiffPage, index: int, raw: bytes | None, blank: tuple[int, ...] | None
) -> NDArray[np.uint8]:
    """A strip or tile `[h, w, S]`."""
    if raw is None:
        if blank is None or keyframe.planarconfig == 2:
            raise ValueError("a part of it was never written")
        return np.broadcast_to(np.array(blank, np.uint8), (*segment_size(keyframe), len(blank)))
    decoded: NDArray[np.uint8] = keyframe.decode(raw, index, jpegtables=keyframe.jpegtables)[0][0]
    return decoded


def is_tiff(path: str | Path) -> bool:
    """Whether a file begins as a TIFF does."""
    with Path(path).open("rb") as file:
        return file.read(4) in MAGIC
