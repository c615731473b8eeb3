"""The nuclei of a region, as rows in level-0 coordinates: the same table from a worker process to the files."""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from monch_monai.classes import CLASSES, NUCLEUS_CLASSES

PROBS = tuple(f"prob_{c.name}" for c in NUCLEUS_CLASSES)
SCHEMA = pa.schema(
    [
        ("class_index", pa.uint8()),
        ("class_name", pa.string()),
        *((name, pa.float64()) for name in ("x", "y", "area_um2", "circularity", "mean_prob", *PROBS)),
        ("source", pa.int64()),
        ("geometry", pa.binary()),
    ]
)
"""A row a nucleus: centroid `x`, `y` in px of level 0; area in µm²; circularity 4π area / perimeter², at most 1;
`mean_prob` that of its class, over its pixels; `source` the place of its outline in another tool's file, else null;
`geometry` its outline as WKB, px of level 0.
"""


def table(
    classes: NDArray[np.uint8],
    probs: NDArray[np.floating],
    centroids: NDArray[np.floating],
    areas_um2: NDArray[np.floating],
    circularities: NDArray[np.floating],
    polygons: list[shapely.Polygon],
    sources: NDArray[np.integer] | None = None,
) -> pa.Table:
    """K nuclei as `SCHEMA`: each argument holds K of them; outlines and centroids `[K, 2]` (x, y) are px of level 0.

    `probs` `[K, 5]` are means of each class over the nucleus's pixels, `sources` places in another tool's file.
    """
    mean = probs[np.arange(len(classes)), classes.astype(int) - 1] if len(classes) else np.zeros(0)
    columns = {
        "class_index": classes,
        "class_name": [CLASSES[c].name for c in classes],
        "x": centroids[:, 0].round(3),  # further digits depend on where sums began
        "y": centroids[:, 1].round(3),
        "area_um2": areas_um2.round(4),
        "circularity": circularities.round(4),
        "mean_prob": mean.round(4),
        **{name: probs[:, i].round(4) for i, name in enumerate(PROBS)},
        "source": [None] * len(classes) if sources is None else sources,
        "geometry": shapely.to_wkb(np.asarray(polygons, dtype=object)),
    }
    return pa.table(columns, SCHEMA)


def circularity(area: NDArray[np.floating], perimeter: NDArray[np.floating]) -> NDArray[np.float64]:
    """4π area / perimeter², at most 1, in the same unit of length; 1 for what is too small to have a perimeter."""
    with np.errstate(divide="ignore"):
        roundness: NDArray[np.float64] = np.minimum(4 * np.pi * np.asarray(area) / np.square(perimeter), 1.0)
    return roundness


def polygons_of(nuclei: pa.Table) -> list[shapely.Geometry]:
    """Outlines of the nuclei of a table, px of level 0."""
    return list(shapely.from_wkb(nuclei["geometry"].to_pylist()))
