"""What results are of, as writers are given it, and nuclei with known answers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp, Size, working_grid
from monch_monai.segmentation.nuclei_table import table
from monch_monai.writers import Source, provenance


def source_of(class_table=PANNUKE, path=Path("slide.svs"), size=(4000, 3000), mpp=0.25, **more):
    """The source of a slide of no file."""
    at, resolution = Size(*size), Mpp(mpp, mpp)
    grid = working_grid(at, resolution)
    about = {"software": "MONCH test", "slide": path.name, "source_mpp": [mpp, mpp], "working_mpp": [grid.mpp.x] * 2}
    about = provenance(about, class_table, ["ab" * 32])
    return Source(path, "cd" * 32, at, resolution, grid, class_table, about, **more)


def polygons_at(places, radius=6.0, corners=12):
    """Polygons around (x, y) `[K, 2]`, to hundredths of a pixel, as outlines are."""
    angles = np.arange(corners) * 2 * np.pi / corners
    ring = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (np.asarray(places, float)[:, None] + ring).round(2)
    return list(shapely.polygons(points))


def nuclei_at(places, classes, class_table=PANNUKE, polygons=None):
    """A table of nuclei around (x, y) `[K, 2]` of classes `[K]`, each sure to 0.75."""
    places, classes = np.reshape(np.asarray(places, float), (-1, 2)), np.asarray(classes, np.uint8)
    probs = np.where(classes[:, None] == np.arange(1, len(class_table)), 0.75, 0.05)
    polygons = polygons_at(places) if polygons is None else polygons
    areas = shapely.area(np.asarray(polygons, object)) / 16 if len(places) else np.zeros(0)
    return table(classes, probs, places, areas, np.ones(len(places)), polygons)


def scattered(count, class_table=PANNUKE, side=4000, seed=0):
    """`count` nuclei at random places, of classes in turn."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(20, side - 20, (count, 2))
    return nuclei_at(places, 1 + np.arange(count) % (len(class_table) - 1), class_table)


def in_pieces(nuclei: pa.Table, rows: int):
    """Tables of at most `rows` nuclei."""
    return [nuclei.slice(first, rows) for first in range(0, nuclei.num_rows, rows)]
