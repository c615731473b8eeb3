"""The nuclei of a region, as rows in level-0 coordinates: the same table from a worker process to the files."""

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable

SCHEMA = pa.schema(
    [
        ("class_index", pa.uint8()),
        *((name, pa.float64()) for name in ("x", "y", "area_um2", "circularity", "mean_prob")),
        ("probs", pa.list_(pa.float64())),
        ("source", pa.int64()),
        ("geometry", pa.binary()),
    ]
)
"""A row a nucleus: centroid `x`, `y` in px of level 0; area in µm²; circularity 4π area / perimeter², at most 1.
`mean_prob` is that of its class, over its pixels; `probs` are those of all classes of nuclei. `source` is the place of
its outline in another tool's file, else null. `geometry` is its outline as WKB, px of level 0.
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

    Args:
        classes: `[K]`.
        probs: `[K, T - 1]`, mean of each class of nuclei over the nucleus's pixels.
        centroids: `[K, 2]` (x, y), px of level 0.
        areas_um2: `[K]`.
        circularities: `[K]`.
        polygons: K outlines, px of level 0.
        sources: `[K]`, places in another tool's file.
    """
    mean = probs[np.arange(len(classes)), classes.astype(int) - 1] if len(classes) else np.zeros(0)
    columns = {
        "class_index": classes,
        "x": centroids[:, 0].round(3),  # further digits depend on where sums began
        "y": centroids[:, 1].round(3),
        "area_um2": areas_um2.round(4),
        "circularity": circularities.round(4),
        "mean_prob": mean.round(4),
        "probs": list(probs.round(4)),
        "source": [None] * len(classes) if sources is None else sources,
        "geometry": shapely.to_wkb(np.asarray(polygons, dtype=object)),
    }
    return pa.table(columns, SCHEMA)


def named(nuclei: pa.Table, class_table: ClassTable) -> pa.Table:
    """A table of `SCHEMA` as files have it: with `class_name`, and `prob_CLASS` for each class of nuclei in `probs`."""
    names = pa.array(class_table.names).take(nuclei["class_index"])
    probs = np.reshape(nuclei["probs"].to_pylist(), (nuclei.num_rows, len(class_table.nuclei)))
    columns: dict[str, Any] = {}
    for column in nuclei.column_names:
        if column == "probs":
            columns |= {f"prob_{c.name}": probs[:, i] for i, c in enumerate(class_table.nuclei)}
        else:
            columns[column] = nuclei[column]
        if column == "class_index":
            columns["class_name"] = names
    return pa.table(columns)


def circularity(area: NDArray[np.floating], perimeter: NDArray[np.floating]) -> NDArray[np.float64]:
    """4π area / perimeter², at most 1, in the same unit of length; 1 for what is too small to have a perimeter."""
    with np.errstate(divide="ignore"):
        roundness: NDArray[np.float64] = np.minimum(4 * np.pi * np.asarray(area) / np.square(perimeter), 1.0)
    return roundness


def polygons_of(nuclei: pa.Table) -> list[shapely.Geometry]:
    """Outlines of the nuclei of a table, px of level 0."""
    return list(shapely.from_wkb(nuclei["geometry"].to_pylist()))
