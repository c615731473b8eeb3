"""Nuclei that another tool outlined (QuPath, InstanSeg, StarDist), and to which MONCH gives a class."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from monch_monai.errors import InputError, one_line
from monch_monai.files import existing_file, sha256
from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.predict import Prediction
from monch_monai.segmentation.finder import NucleusFinder
from monch_monai.segmentation.found_nuclei import FoundNuclei
from monch_monai.segmentation.nuclei_table import SCHEMA, circularity, table


class GivenNuclei:
    """Outlines of a GeoJSON file, in px of level 0. Each keeps its outline and gets the class with the largest mean
    probability over the pixels in it, whatever class the class map has at single pixels.

    Args:
        features: Features with polygons.
        polygons: their outlines.
        digest: SHA-256 of the file.
    """

    originals: list[dict[str, Any]] | None

    def __init__(self, features: list[dict[str, Any]], polygons: NDArray[np.object_], digest: str = "") -> None:
        self.originals, self.polygons, self.settings = features, polygons, {"sha256": digest}
        self.sources = np.arange(len(polygons))

    @classmethod
    def read(cls, path: str | Path) -> "GivenNuclei":
        """The outlines of a file: a FeatureCollection or a list of Features, plain or gzip.

        Raises:
            InputError: the file does not exist, is a folder or is no GeoJSON, or a Feature is no polygon.
        """
        path = existing_file(f"nuclei {path}", path, "give a GeoJSON file of outlines")
        try:
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            content = json.loads(raw)
            features = content["features"] if isinstance(content, dict) else content
            polygons = np.array([shapely.force_2d(shape(f["geometry"])) for f in features], dtype=object)
        except Exception as error:  # whatever a file of another kind makes of these
            reason = f"is no GeoJSON of outlines ({one_line(error)})"
            raise InputError(f"nuclei {path} {reason}: export polygons as GeoJSON") from error
        kinds = {polygon.geom_type for polygon in polygons} - {"Polygon", "MultiPolygon"}
        if kinds:
            raise InputError(f"nuclei {path} holds a {min(kinds)}; expected polygons: export outlines, not centres")
        areas = np.array([_areas(polygon, path) for polygon in polygons], dtype=object)
        return cls(features, areas, sha256(path))

    def added_tissue(self, grid: WorkingGrid) -> list[WorkingBox]:
        """Box of each outline."""
        corners = shapely.bounds(self.polygons).reshape(-1, 4) / (2 * grid.per_level0)
        low, high = np.floor(corners[:, :2]).astype(int), np.ceil(corners[:, 2:]).astype(int)
        return [
            WorkingBox.between(x, y, max(r, x + 1), max(b, y + 1)) for (x, y), (r, b) in zip(low, high, strict=True)
        ]

    def part(self, core: WorkingBox, grid: WorkingGrid) -> "GivenNuclei":
        """The outlines whose centroid lies in the core, without their Features."""
        ours = core.owns(shapely.get_coordinates(shapely.centroid(self.polygons)) / grid.per_level0)
        made = GivenNuclei([], self.polygons[ours])
        made.sources = self.sources[ours]
        return made

    def __call__(self, view: Prediction, view_box: WorkingBox, core: WorkingBox, grid: WorkingGrid) -> pa.Table:
        """Nuclei whose centroid lies in the core, as `nuclei_table.SCHEMA`."""
        ours = self.part(core, grid)
        if not len(ours.polygons):
            return SCHEMA.empty_table()
        probs = np.stack([_mean_probs(polygon, view, view_box, grid) for polygon in ours.polygons])
        areas = shapely.area(ours.polygons)
        centroids = shapely.get_coordinates(shapely.centroid(ours.polygons))
        roundness = circularity(areas, shapely.length(ours.polygons))
        classes = (probs.argmax(axis=1) + 1).astype(np.uint8)
        return table(
            classes, probs, centroids, areas * grid.um2_per_level0_px, roundness, list(ours.polygons), ours.sources
        )


def nucleus_finder(
    nuclei: str | Path | None = None, separation_um: float = 0.25, min_area_um2: float = 2.0
) -> NucleusFinder:
    """The nuclei of a GeoJSON file where one is given, else a `FoundNuclei` of the two numbers.

    Raises:
        InputError: the file cannot be used, or a number is not one that `WatershedNuclei` takes.
    """
    return FoundNuclei(separation_um, min_area_um2) if nuclei is None else GivenNuclei.read(nuclei)


def _areas(polygon: Any, path: Path) -> Any:
    """A valid polygon or multipolygon: mending one that crosses itself can leave lines besides, which have no area."""
    valid = shapely.make_valid(polygon)
    if valid.geom_type in ("Polygon", "MultiPolygon") and not valid.is_empty:
        return valid
    parts = [part for part in shapely.get_parts(shapely.get_parts(valid)) if part.geom_type == "Polygon"]
    if not parts:
        raise InputError(f"nuclei {path} holds an outline without an area: remove it")
    return shapely.union_all(parts)


def _mean_probs(polygon: Any, view: Prediction, view_box: WorkingBox, grid: WorkingGrid) -> NDArray[np.float64]:
    """Mean probability `[T - 1]` over working px whose centres an outline holds; of one too small, at its centre."""
    here = shapely.transform(polygon, lambda points: points / grid.per_level0 - (view_box.x, view_box.y))
    left, top, right, bottom = here.bounds
    height, width = view.class_map.shape
    columns = np.arange(max(0, int(left)), min(width, int(np.ceil(right))))
    rows = np.arange(max(0, int(top)), min(height, int(np.ceil(bottom))))
    x, y = np.meshgrid(columns, rows)
    inside = shapely.contains_xy(here, x + 0.5, y + 0.5)
    if inside.any():
        mean: NDArray[np.float64] = view.probs[:, y[inside], x[inside]].astype(np.float64).mean(axis=1)
        return mean
    middle = here.centroid
    nearest = min(max(int(middle.y), 0), height - 1), min(max(int(middle.x), 0), width - 1)
    return view.probs[:, nearest[0], nearest[1]].astype(np.float64)
