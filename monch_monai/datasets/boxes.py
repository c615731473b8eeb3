"""Nuclei given as boxes, which become the ellipses inscribed in them."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.draw import ellipse

from monch_monai.datasets.csv_rows import read_csv
from monch_monai.datasets.fields import MOST_NUCLEI
from monch_monai.datasets.type_table import TypeTable
from monch_monai.errors import InputError, shown

CORNERS = ("x0", "y0", "x1", "y1")
LARGEST_TABLE = 64 * 1024 * 1024
"""Bytes of the largest table of boxes."""
FARTHEST = 1e6
"""Largest coordinate of a box, px."""


class Box(NamedTuple):
    """A nucleus's box: edges in px from the picture's upper left corner, value of its type, and where it is stated."""

    x0: float
    y0: float
    x1: float
    y1: float
    type: int
    place: str


def read_boxes(path: Path, fields: Collection[str], types: TypeTable) -> dict[str, list[Box]]:
    """Boxes by field, none for fields without any.

    Args:
        path: CSV with the columns `field`, `x0`, `y0`, `x1`, `y1`, and `class` where types have a table; more are left.
        fields: names of the pictures.
        types: what the texts of the column `class` mean.

    Raises:
        InputError: the file cannot be read as such a table, classes have no table, or a row has an unknown field or
            class, a coordinate that is no number, or edges in the wrong order.
    """
    rows = read_csv(path, ("field", *CORNERS, *(["class"] if types.path else [])), LARGEST_TABLE)
    boxes: dict[str, list[Box]] = {field: [] for field in fields}
    for line, row in rows.items():
        place = f"{path}, line {line},"
        if types.path is None and "class" in row:
            raise InputError(f"{path} has a column class, but no classes.csv beside it: state there what each means")
        if row["field"] not in boxes:
            raise InputError(f"{place} has the field {shown(row['field'])}, of which there is no picture: rename it")
        kind = types.number_of.get(row["class"]) if types.path else 0
        if kind is None:
            known = ", ".join(types.number_of)
            raise InputError(f"{place} has the class {shown(row['class'])}; {types.path} has {known}: add it")
        x0, y0, x1, y1 = (_coordinate(row[corner], f"{place} has the {corner}") for corner in CORNERS)
        if not (x0 < x1 and y0 < y1):
            found = f"{place} has a box from x {x0:g} to {x1:g} and from y {y0:g} to {y1:g}"
            raise InputError(f"{found}: give x0 below x1 and y0 below y1")
        boxes[row["field"]].append(Box(x0, y0, x1, y1, kind, place))
        if len(boxes[row["field"]]) > MOST_NUCLEI:
            raise InputError(
                f"{place} is the {MOST_NUCLEI + 1}th box of its field; at most {MOST_NUCLEI} fit: cut the picture up"
            )
    return boxes


def draw_ellipses(
    boxes: Sequence[Box], size: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.int32], dict[str, int]]:
    """Ids of nuclei and values of their types, each `[H, W]`, and counts of oddities.

    A pixel is of a box where its centre lies within the ellipse inscribed in that; where several do, of the smallest.

    Args:
        boxes: of one picture.
        size: its height and width in px.

    Raises:
        InputError: a box lies wholly outside the picture.
    """
    instances, types = np.zeros((2, *size), np.int32)
    for number, box in sorted(enumerate(boxes, 1), key=lambda item: -_area(item[1])):
        if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= size[1] or box.y0 >= size[0]:
            found = f"{box.place} has a box outside its picture, which is of {size[1]}x{size[0]} px"
            raise InputError(f"{found}: give px of the picture as it is stored")
        centre = (box.y0 + box.y1 - 1) / 2, (box.x0 + box.x1 - 1) / 2
        inside = ellipse(*centre, (box.y1 - box.y0) / 2, (box.x1 - box.x0) / 2, size)
        instances[inside], types[inside] = number, box.type
    hidden = len(boxes) - int(np.count_nonzero(np.unique(instances)))
    return instances, types, {"boxes under smaller ones or of no pixel, left out": hidden}


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def _coordinate(text: str, found: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= FARTHEST:
        raise InputError(f"{found} {shown(text)}: give a number of px")
    return value
