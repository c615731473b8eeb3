"""The class map of a slide as a pyramid: an OME-TIFF in colours, one byte a pixel."""

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import numpy as np
import tifffile
from numpy.typing import NDArray

from monch_monai.writers.source import Source

TILE = 512
"""Side of the squares in which class maps are kept and written, px."""
SMALLEST = 1024
"""Levels are added until one is no larger than this, px."""
UNKNOWN = str(UUID(int=0))
"""In place of the UUID until the map is written."""

Squares = Callable[[int, int], NDArray[np.uint8] | None]
"""Square of a row and column, `[<= TILE, <= TILE]`; None where it is background."""


def write_pyramid(path: Path, source: Source, squares: Squares) -> None:
    """Writes the class map; each level has every second row and column of the one before.

    Squares are asked for once, row by row; what lower levels need of them waits in a file. Smaller levels are SubIFDs,
    as OME-TIFF has them; class indices have the colours of the class table. The provenance is OME's description. The
    file's UUID is of the source's `identity` and the map (RFC 9562, version 5): the same work has the same bytes, and
    no other map has its UUID.

    Args:
        path: to write.
        source: what the map is of.
        squares: the map.

    Raises:
        OSError: the disk is full.
    """
    box, mpp = source.grid.box, source.grid.mpp
    sizes = [(box.height, box.width)]
    while max(sizes[-1]) > SMALLEST:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    colours = np.zeros((3, 256), np.uint16)
    for c in source.class_table.classes:
        colours[:, c.index] = np.array(c.color) * 257
    metadata = {
        "axes": "YX",
        "Name": f"{source.name}, classes",
        "Description": source.text,
        "UUID": UNKNOWN,
        "PhysicalSizeX": mpp.x,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp.y,
        "PhysicalSizeYUnit": "µm",
    }
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (TILE, TILE),
        "compression": "zlib",
        "photometric": "palette",
        "colormap": colours,
        "maxworkers": 1,
        "resolutionunit": "CENTIMETER",
    }
    digest = hashlib.sha256(source.identity.encode())
    squares = _counted(squares, digest)
    with TemporaryDirectory(dir=path.parent) as folder, tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for level, size in enumerate(sizes):
            quarters = _Quarters(Path(folder) / str(level), size)
            file.write(
                _tiles(squares, size, quarters),
                shape=size,
                resolution=(1e4 / mpp.x / 2**level, 1e4 / mpp.y / 2**level),
                metadata=metadata if level == 0 else None,
                **({"subifds": len(sizes) - 1} if level == 0 else {"subfiletype": 1}),
                **options,
            )
            squares = quarters.square
    with tifffile.TiffFile(path, mode="r+b") as written:
        about = written.pages.first.tags["ImageDescription"]
        about.overwrite(about.value.replace(UNKNOWN, str(uuid5(NAMESPACE_OID, digest.hexdigest()))).encode())


def _counted(squares: Squares, digest: Any) -> Squares:
    """Squares that are added to a digest as they are asked for."""

    def square(row: int, column: int) -> NDArray[np.uint8] | None:
        found = squares(row, column)
        if found is not None and found.any():
            digest.update(f"{row} {column} {found.shape} ".encode() + found.tobytes())
        return found

    return square


def _tiles(squares: Squares, size: tuple[int, int], quarters: "_Quarters") -> Iterator[NDArray[np.uint8]]:
    for row in range(math.ceil(size[0] / TILE)):
        for column in range(math.ceil(size[1] / TILE)):
            tile = np.zeros((TILE, TILE), np.uint8)
            square = squares(row, column)
            if square is not None:
                tile[: square.shape[0], : square.shape[1]] = square
                quarters.put(row, column, tile[::2, ::2])
            yield tile


class _Quarters:
    """Squares of half the resolution, of which four make one of the next level; in a file that has holes where there is
    background.
    """

    side = TILE // 2

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.path = path
        self.rows, self.columns = (math.ceil(n / TILE) for n in size)
        with path.open("wb") as file:
            file.truncate(self.rows * self.columns * self.side**2)

    def put(self, row: int, column: int, pixels: NDArray[np.uint8]) -> None:
        with self.path.open("r+b") as file:
            file.seek((row * self.columns + column) * self.side**2)
            file.write(np.ascontiguousarray(pixels).tobytes())

    def square(self, row: int, column: int) -> NDArray[np.uint8]:
        stored = np.memmap(self.path, np.uint8, "r", shape=(self.rows, self.columns, self.side, self.side))
        found = stored[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        four = np.zeros((2, 2, self.side, self.side), np.uint8)  # at the edges fewer than four are stored
        four[: found.shape[0], : found.shape[1]] = found
        return four.swapaxes(1, 2).reshape(TILE, TILE)
