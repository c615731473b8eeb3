"""The index of outlines: nuclei in the order of the tiles they lie in, made once and kept on disk."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.viewer.nucleus_table import NucleusTable

SPAN = 512
"""Side of the finest tiles, px of level 0; those of the next level are twice as wide."""
VERSION, KEPT = 1, 16
"""Of the layout; and number of indices that stay on disk."""
ABOUT = "about.json"


class OutlineIndex:
    """Nuclei of a result as arrays that are mapped from disk, in the order of the tiles that their centroids lie in.

    Args:
        folder: that `OutlineIndex.of` made.

    Attributes:
        number_names: columns of `numbers`.
        margin: most that an outline reaches beyond its centroid, px of level 0.
        diameter: median over nuclei of the square root of the area of the box around the outline, px of level 0.
        places: `[N, 2]` int32, centroids in thousandths of px of level 0.
        probs: `[N]` uint16, mean probability of the class in units of 1e-4.
        classes: `[N]` uint8.
        boxes: `[N, 4]` float32, left, top, right and bottom of outlines.
        numbers: `[N, M]` float64.
        rings: `[N + 1]`, where each nucleus's rings begin in `points`.
        points: `[R + 1]`, where each ring's points begin in `coordinates`.
        coordinates: `[P, 2]` float32, px of level 0; the first point of a ring is not repeated.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.number_names: list[str] = about["number_names"]
        self.margin, self.diameter = float(about["margin"]), float(about["diameter"])
        self.places, self.probs, self.classes, self.boxes, self.numbers, self.rings, self.points, self.coordinates = (
            np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("places", "probs", "classes", "boxes", "numbers", "rings", "points", "coordinates")
        )
        self.tiles = np.floor(self.places / (1000 * SPAN)).astype(np.int32)
        self.tile_keys = tile_keys(self.tiles)

    @classmethod
    def of(cls, table: NucleusTable, key: str) -> Self:
        """The index of a table: from the cache, or made and kept there.

        Args:
            table: of nuclei.
            key: by which the cache names it; another one for other content.

        Raises:
            InputError: the table is damaged, or the cache cannot be written.
        """
        folder = cache() / f"{key}-{VERSION}"
        if not (folder / ABOUT).is_file():
            arrays, about = _indexed(table)
            try:
                _store(folder, arrays, about)
            except OSError as error:
                problem = f"{folder.parent} cannot be written ({error.strerror or error})"
                raise InputError(f"{problem}: make room, or set XDG_CACHE_HOME to another folder") from error
        return cls(folder)

    def within(self, left: float, top: float, side: float) -> NDArray[np.int64]:
        """Rows of the nuclei whose outlines may meet a square, px of level 0."""
        first = int((left - self.margin) // SPAN), int((top - self.margin) // SPAN)
        last = int((left + side + self.margin) // SPAN), int((top + side + self.margin) // SPAN)
        pieces = []
        for y in range(first[1], last[1] + 1):
            ends = np.searchsorted(self.tile_keys, tile_keys(np.array([[first[0], y], [last[0] + 1, y]])))
            pieces.append(np.arange(*ends))
        rows = np.concatenate(pieces)
        box = self.boxes[rows]
        meets = (box[:, 0] < left + side) & (box[:, 2] > left) & (box[:, 1] < top + side) & (box[:, 3] > top)
        found: NDArray[np.int64] = rows[meets]
        return found

    def lie_in(self, box: Level0Box, rows: NDArray[np.int64] | slice) -> NDArray[np.bool_]:
        """Which rows have their centroid in a box."""
        x, y = self.places[rows].T / 1000
        inside: NDArray[np.bool_] = (x >= box.x) & (x < box.right) & (y >= box.y) & (y < box.bottom)
        return inside


def tile_keys(tiles: NDArray[np.integer]) -> NDArray[np.int64]:
    """Numbers by which tiles `[N, 2]` (x, y) are ordered, row by row."""
    wide = tiles.astype(np.int64) + (1 << 20)
    return (wide[:, 1] << 22) + wide[:, 0]


def gathered(starts: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Indices of runs of `counts` values that begin at `starts`, one run after another."""
    ends = np.cumsum(counts)
    indices: NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return indices


def cache() -> Path:
    """Folder of indices, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "monch" / "viewer"


def _indexed(table: NucleusTable) -> tuple[dict[str, NDArray[np.generic]], Mapping[str, object]]:
    """Arrays of an index, and what else it states."""
    parts = [(part.classes, part.numbers, *_rings(part.geometries)) for part in table.parts()]
    if not parts:
        none = np.zeros(0, np.int64)
        empty = np.zeros((0, len(table.number_names)))
        parts = [(np.zeros(0, np.uint8), empty, np.zeros((0, 4)), none, none, np.zeros((0, 2), np.float32))]
    classes, numbers, boxes, ring_counts, point_counts, coordinates = (
        np.concatenate([part[i] for part in parts]) for i in range(6)
    )
    del parts
    order = np.argsort(tile_keys(np.floor(numbers[:, :2] / SPAN).astype(np.int64)), kind="stable")
    rings = gathered((np.cumsum(ring_counts) - ring_counts)[order], ring_counts[order])
    points = gathered((np.cumsum(point_counts) - point_counts)[rings], point_counts[rings])
    boxes, numbers, places = boxes[order], numbers[order], np.rint(numbers[order, :2] * 1000)
    reach = np.abs(boxes - numbers[:, [0, 1, 0, 1]]).max(initial=0)
    sizes = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    about = {
        "number_names": table.number_names,
        "margin": float(reach) + 1,
        "diameter": float(np.median(sizes)) if len(sizes) else 0.0,
    }
    arrays: dict[str, NDArray[np.generic]] = {
        "places": places.astype("<i4"),
        "probs": np.rint(np.nan_to_num(numbers[:, 2]) * 1e4).astype("<u2"),
        "classes": classes[order],
        "boxes": boxes.astype(np.float32),
        "numbers": numbers,
        "rings": np.append(0, np.cumsum(ring_counts[order])),
        "points": np.append(0, np.cumsum(point_counts[rings])),
        "coordinates": coordinates[points],
    }
    return arrays, about


def _rings(geometries: NDArray[np.object_]) -> tuple[NDArray[np.generic], ...]:
    """Boxes, rings of each outline, points of each ring, and their coordinates."""
    if (shapely.get_type_id(geometries) == shapely.GeometryType.POLYGON).all():
        polygons, of_outline = geometries, np.arange(len(geometries))
    else:
        polygons, of_outline = shapely.get_parts(geometries, return_index=True)
    rings, of_polygon = shapely.get_rings(polygons, return_index=True)
    coordinates, of_ring = shapely.get_coordinates(rings, return_index=True)
    last = np.append(of_ring[1:] != of_ring[:-1], True)[: len(of_ring)]  # repeats the first
    ring_counts = np.bincount(of_outline[of_polygon], minlength=len(geometries))
    point_counts = np.bincount(of_ring[~last], minlength=len(rings))
    boxes = shapely.bounds(geometries).reshape(-1, 4)
    return boxes, ring_counts, point_counts, coordinates[~last].astype(np.float32)


def _store(folder: Path, arrays: Mapping[str, NDArray[np.generic]], about: Mapping[str, object]) -> None:
    """Writes an index whole or not at all, and removes the oldest of many."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array)
        (part / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        if not folder.exists():  # else another process was faster
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    kept = sorted((f for f in folder.parent.iterdir() if f.name[0] != "."), key=lambda f: f.stat().st_mtime)
    for old in kept[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
