"""Nuclei separated by the watershed."""

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass
from skimage.measure import regionprops_table

from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.nuclei import WatershedNuclei, outlines
from monch_monai.predict import Prediction
from monch_monai.segmentation.nuclei_table import SCHEMA, circularity, table
from monch_monai.slides import Slide


class FoundNuclei:
    """Finds nuclei by `WatershedNuclei`, with its arguments and its errors."""

    originals: dict[int, dict[str, Any]] | None = None

    def __init__(self, separation_um: float = 0.25, min_area_um2: float = 2.0) -> None:
        self.separation_um, self.min_area_um2 = separation_um, min_area_um2
        self.settings = {"separation_um": separation_um, "min_area_um2": min_area_um2}
        self.report: dict[str, Any] = {}
        WatershedNuclei(1.0, separation_um, min_area_um2)  # refuses what it cannot use, before anything is read

    def added_tissue(self, slide: Slide, grid: WorkingGrid) -> list[WorkingBox]:
        """None: nuclei are found in tissue alone."""
        return []

    def part(self, core: WorkingBox, grid: WorkingGrid) -> "FoundNuclei":
        """The whole finder."""
        return self

    def __call__(self, view: Prediction, view_box: WorkingBox, core: WorkingBox, grid: WorkingGrid) -> pa.Table:
        """Nuclei whose centroid lies in the core, as `nuclei_table.SCHEMA`."""
        watershed = WatershedNuclei(grid.mpp.mean, self.separation_um, self.min_area_um2)
        nuclei = watershed(*view)
        corner = np.array([view_box.x, view_box.y])
        places = centroids(nuclei.instance_map) + corner
        ours = core.owns(places)
        if not ours.any():
            return SCHEMA.empty_table()
        number = np.zeros(len(ours) + 1, np.int32)
        number[1:][ours] = np.arange(1, ours.sum() + 1)
        instance_map = number[nuclei.instance_map]
        shapes = regionprops_table(instance_map, properties=("area", "perimeter"))
        polygons = [
            shapely.transform(polygon, lambda points: grid.to_level0(points + corner).round(2))
            for polygon in outlines(instance_map)
        ]
        roundness = circularity(shapes["area"], shapes["perimeter"])
        areas = shapes["area"] * grid.mpp.x * grid.mpp.y
        return table(nuclei.classes[ours], nuclei.probs[ours], grid.to_level0(places[ours]), areas, roundness, polygons)


def centroids(instance_map: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean (x, y) `[K, 2]` of the pixels of nuclei 1 to K, pixel centres at halves."""
    middles = center_of_mass(instance_map > 0, instance_map, np.arange(1, instance_map.max() + 1))
    return np.reshape(middles, (-1, 2))[:, ::-1] + 0.5
