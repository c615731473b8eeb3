"""The nuclei of a region, as rows in level-0 coordinates: the same table from a worker process to the files."""

from typing import Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from skimage.measure import regionprops_table

from monch_monai.classes import CLASSES, NUCLEUS_CLASSES
from monch_monai.nuclei import WatershedNuclei, outlines
from monch_monai.slides.geometry import Box, Grid
from monch_monai.slides.stitching import Prediction, owned

PROBS = tuple(f"prob_{c.name}" for c in NUCLEUS_CLASSES)
SCHEMA = pa.schema(
    [
        ("class_index", pa.uint8()),
        ("class_name", pa.string()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("area_um2", pa.float64()),
        ("circularity", pa.float64()),
        ("mean_prob", pa.float64()),
        *((name, pa.float64()) for name in PROBS),
        ("source", pa.int64()),
        ("geometry", pa.binary()),
    ]
)
"""A row a nucleus: centroid `x`, `y` in px of level 0; area in µm²; circularity 4π area / perimeter², at most 1;
`mean_prob` that of its class, over its pixels; `source` the place of its outline in another tool's file, else null;
`geometry` its outline as WKB, px of level 0.
"""


class NucleusFinder(Protocol):
    """Makes nuclei of what the network says of a region."""

    def part(self, core: Box, grid: Grid) -> "NucleusFinder":
        """What of it a core needs: that goes to a worker process."""

    def __call__(self, view: Prediction, view_box: Box, core: Box, grid: Grid) -> pa.Table:
        """Nuclei that are the core's to report, as `SCHEMA`.

        Args:
            view: prediction `[H, W]` of the core and a margin around it.
            view_box: where that lies on the working grid.
            core: part that the region answers for.
            grid: the working grid.
        """


class FoundNuclei:
    """Nuclei told apart by the watershed that images are segmented with.

    Args:
        separation_um: as of `WatershedNuclei`.
        min_area_um2: as of `WatershedNuclei`.
    """

    def __init__(self, separation_um: float = 0.25, min_area_um2: float = 2.0) -> None:
        self.separation_um, self.min_area_um2 = separation_um, min_area_um2
        WatershedNuclei(1.0, separation_um, min_area_um2)  # refuses what it cannot use, before anything is read

    def part(self, core: Box, grid: Grid) -> "FoundNuclei":
        """All of it."""
        return self

    def __call__(self, view: Prediction, view_box: Box, core: Box, grid: Grid) -> pa.Table:
        """Nuclei that are the core's to report, as `SCHEMA`."""
        watershed = WatershedNuclei(grid.mpp.mean, self.separation_um, self.min_area_um2)
        nuclei = watershed(view.class_map, view.probs)
        corner = np.array([view_box.x, view_box.y])
        ours = owned(core, centroids(nuclei.instance_map) + corner)
        number = np.zeros(len(ours) + 1, np.int32)
        number[1:][ours] = np.arange(1, ours.sum() + 1)
        instance_map = number[nuclei.instance_map]
        if not ours.any():
            return SCHEMA.empty_table()
        shapes = regionprops_table(instance_map, properties=("area", "perimeter", "centroid"))
        place = np.stack([shapes["centroid-1"], shapes["centroid-0"]], axis=1) + 0.5 + corner
        polygons = [
            shapely.transform(polygon, lambda points: grid.to_level0(points + corner).round(2))
            for polygon in outlines(instance_map)
        ]
        roundness = circularity(shapes["area"], shapes["perimeter"])
        areas = shapes["area"] * grid.mpp.x * grid.mpp.y
        return table(nuclei.classes[ours], nuclei.probs[ours], grid.to_level0(place), areas, roundness, polygons)


def table(
    classes: NDArray[np.uint8],
    probs: NDArray[np.floating],
    centroids: NDArray[np.floating],
    areas_um2: NDArray[np.floating],
    circularities: NDArray[np.floating],
    polygons: list[shapely.Polygon],
    sources: NDArray[np.integer] | None = None,
) -> pa.Table:
    """K nuclei as `SCHEMA`.

    Args:
        classes: `[K]`.
        probs: `[K, 5]`, mean of each class over the nucleus's pixels.
        centroids: `[K, 2]` (x, y), px of level 0.
        areas_um2: `[K]`.
        circularities: `[K]`.
        polygons: K outlines, px of level 0.
        sources: `[K]`, places in another tool's file.
    """
    mean = probs[np.arange(len(classes)), classes.astype(int) - 1] if len(classes) else np.zeros(0)
    columns = {
        "class_index": classes,
        "class_name": [CLASSES[c].name for c in classes],
        "x": centroids[:, 0].round(3),  # what is beyond depends on where sums began
        "y": centroids[:, 1].round(3),
        "area_um2": areas_um2.round(4),
        "circularity": circularities.round(4),
        "mean_prob": mean.round(4),
        **{name: probs[:, i].round(4) for i, name in enumerate(PROBS)},
        "source": [None] * len(classes) if sources is None else sources,
        "geometry": shapely.to_wkb(np.asarray(polygons, dtype=object)),
    }
    return pa.table({name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}, SCHEMA)


def centroids(instance_map: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean (x, y) `[K, 2]` of the pixels of nuclei 1 to K, pixel centres at halves."""
    y, x = np.nonzero(instance_map)
    ids = instance_map[y, x]
    area = np.bincount(ids)[1:]
    sums = [np.bincount(ids, weights=values)[1:] for values in (x, y)]
    return np.stack(sums, axis=1) / area[:, None] + 0.5 if len(area) else np.zeros((0, 2))


def circularity(area: NDArray[np.floating], perimeter: NDArray[np.floating]) -> NDArray[np.float64]:
    """4π area / perimeter², at most 1, in the same unit of length; 1 of what is too small to have a perimeter."""
    with np.errstate(divide="ignore"):
        roundness: NDArray[np.float64] = np.minimum(4 * np.pi * np.asarray(area) / np.square(perimeter), 1.0)
    return roundness
