"""The writers of results: memory, time and size by the number of nuclei, which are made as they are written."""

import tempfile
import time
from collections.abc import Iterator
from functools import cache
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from benchmarks import measurement
from benchmarks.measurement import print_head, print_row
from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp, Size, working_grid
from monch_monai.segmentation.nuclei_table import table
from monch_monai.writers import FORMATS, TILE, Source, provenance

REGION, SPACING, CORNERS = 1500, 70.0, 36
"""Nuclei added at once; px from one to the next; corners of an outline."""
PERIOD = int(SPACING) * len(PANNUKE.nuclei)


def print_writers(counts: tuple[int, ...] = (10_000, 100_000)) -> None:
    """Prints the peak memory of each format above what it holds after a first small file, its seconds and its size.

    Args:
        counts: of nuclei, an eighth more than which is the area that the class map has.
    """
    print(f"{measurement.conditions('cpu')}\n")
    print_head("format", *(f"{count} nuclei: MiB, s, file MB" for count in counts))
    for name in FORMATS:
        cells = []
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                peak = measurement.peak_mib(prepare, name, count, folder, device="cpu")
                seconds, size = (float(text) for text in Path(folder, "took").read_text(encoding="ascii").split())
            cells.append(f"{peak:.0f}, {seconds:.1f}, {size / 1e6:.1f}")
        print_row(name, *cells)


def prepare(name: str, count: int, folder: str) -> tuple[measurement.Work, measurement.Work]:
    """Writes of a small and of the asked number of nuclei."""
    path = Path(folder) / FORMATS[name].file

    def write() -> None:
        start = time.perf_counter()
        write_file(name, path, count)
        seconds, files = time.perf_counter() - start, [path, *path.rglob("*")]
        size = sum(file.stat().st_size for file in files if file.is_file())
        Path(folder, "took").write_text(f"{seconds} {size}", encoding="ascii")

    return lambda: write_file(name, path, 100), write


def write_file(name: str, path: Path, count: int) -> None:
    """Writes a file of a format."""
    side = ceil(sqrt(count)) * SPACING
    size, mpp = Size(int(side), int(side)), Mpp(0.25, 0.25)
    about = provenance({"software": "MONCH", "slide": "made by code"}, PANNUKE, [])
    source = Source(Path("made.svs"), "0" * 64, size, mpp, working_grid(size, mpp), PANNUKE, about)
    if FORMATS[name].of_map:
        FORMATS[name].load()(path, source, square)
    else:
        with FORMATS[name].load()(path, source) as file:
            for nuclei in regions(count):
                file.add(nuclei)


def regions(count: int) -> Iterator[pa.Table]:
    """Nuclei on a square grid, as `SCHEMA`, of the classes in turn."""
    across = ceil(sqrt(count))
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    ring = 14 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for first in range(0, count, REGION):
        numbers = np.arange(first, min(first + REGION, count))
        places = np.stack([numbers % across + 0.5, numbers // across + 0.5], axis=1) * SPACING
        polygons: Any = shapely.polygons((places[:, None] + ring).round(2))
        classes = (1 + numbers % len(PANNUKE.nuclei)).astype(np.uint8)
        probs = np.where(classes[:, None] == np.arange(1, len(PANNUKE)), 0.75, 0.05)
        areas = shapely.area(polygons) / 16
        yield table(classes, probs, places, areas, np.full(len(numbers), 0.9), list(polygons))


def square(row: int, column: int) -> NDArray[np.uint8]:
    """A square of a class map of discs as dense as the nuclei."""
    y, x = (number * TILE % PERIOD for number in (row, column))
    return pattern()[y : y + TILE, x : x + TILE]


@cache
def pattern() -> NDArray[np.uint8]:
    """A class map that repeats after `PERIOD` px, and a square more."""
    y, x = np.mgrid[: PERIOD + TILE, : PERIOD + TILE]
    inside = np.square((y + 0.5) % SPACING - SPACING / 2) + np.square((x + 0.5) % SPACING - SPACING / 2) <= 14**2
    classes = 1 + (x // SPACING + y // SPACING) % len(PANNUKE.nuclei)
    return np.where(inside, classes, 0).astype(np.uint8)
