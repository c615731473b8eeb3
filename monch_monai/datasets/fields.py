"""Labelled fields of any size, and the folds they make: overlapping tiles to train on, and whole fields to evaluate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX
from monch_monai.data.tiles import Tile
from monch_monai.data.writer import Fold
from monch_monai.errors import InputError
from monch_monai.geometry import TILE_SIZE

STEP = 186
"""Largest distance of training tiles, px: five by five of them cover 1000x1000 px, overlapping by 70."""
LARGEST = 4096
"""Longest side of a field that is evaluated whole, px."""
MOST_NUCLEI = 2**16 - 1
"""Largest id of a nucleus in a prepared dataset."""


class Labelled(NamedTuple):
    """A field's `image [H, W, 3]` uint8, `classes [H, W]` uint8 and `instances [H, W]`, and counts of oddities."""

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.integer]
    remarks: Mapping[str, int] = {}


@dataclass(frozen=True)
class Field:
    """A labelled picture.

    Attributes:
        name: without folder and suffix.
        patient: whose tissue it shows.
        tissue: name of the tissue.
        files: what it is read from, for the dataset's origin.
        read: reads it.
        for_test: whether it belongs to the source's own test part.
        size: height and width in px; known once it was read.
    """

    name: str
    patient: str
    tissue: str
    files: tuple[Path, ...]
    read: Callable[[], Labelled]
    for_test: bool = False
    size: tuple[int, int] = (0, 0)

    def tile(self, height: int, width: int) -> Tile:
        """The field, of at least so many pixels: beyond its right and lower edge its reflection, of label 255."""
        image, classes, instances, _ = self.read()
        wanted = [(0, max(0, n - has)) for n, has in zip((height, width), image.shape, strict=False)]
        image = np.pad(image, [*wanted, (0, 0)], mode="reflect")
        classes = np.pad(classes, wanted, constant_values=IGNORE_INDEX)
        return Tile(image, classes, np.pad(instances, wanted), self.tissue, self.name)


def edges(length: int) -> list[int]:
    """First pixels of the tiles that cover `length` px: `STEP` apart, the last at the end."""
    return sorted({*range(0, length - TILE_SIZE, STEP), max(0, length - TILE_SIZE)})


def training_tiles(fields: Sequence[Field]) -> Fold:
    """Overlapping tiles of fields; those of less than a tile are padded to one."""
    places = [(field, y, x) for field in fields for y, x in product(*map(edges, field.size))]

    def cut(start: int) -> Iterator[Tile]:
        for field, of_field in groupby(places[start:], lambda place: place[0]):
            whole = field.tile(TILE_SIZE, TILE_SIZE)
            yield from (renumbered(whole.cut(y, x, TILE_SIZE)) for _, y, x in of_field)

    return Fold(len(places), cut)


def whole_fields(part: str, fields: Sequence[Field]) -> dict[str, Fold]:
    """Fields whole, each padded to a square of a multiple of the tile: a fold `PART_SIDE` of each side.

    Raises:
        InputError: a field is too large to be evaluated whole.
    """
    by_side: dict[int, list[Field]] = {}
    for field in fields:
        side = -(-max(field.size) // TILE_SIZE) * TILE_SIZE
        if side > LARGEST:
            found = f"field {field.name} is of {field.size[1]}x{field.size[0]} px at the network's resolution"
            raise InputError(f"{found}: cut it into fields of at most {LARGEST} px a side")
        by_side.setdefault(side, []).append(field)
    return {f"{part}_{side}": _squares(by_side[side], side) for side in sorted(by_side)}


def _squares(fields: Sequence[Field], side: int) -> Fold:
    return Fold(len(fields), lambda start: (renumbered(field.tile(side, side)) for field in fields[start:]), side)


def renumbered(tile: Tile) -> Tile:
    """The tile with its nuclei numbered from 1 without gaps, in the order of their ids."""
    found, places = np.unique(tile.instances, return_inverse=True)
    numbers = np.arange(len(found)) + (0 if 0 in found else 1)
    return tile._replace(instances=numbers[places.reshape(tile.instances.shape)].astype(np.uint16))
