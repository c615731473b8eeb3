"""Nuclei that another tool outlined (QuPath, InstanSeg, StarDist), and to which MONCH gives a class."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.files import existing_file, sha256
from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.predict import Prediction
from monch_monai.segmentation.finder import NucleusFinder
from monch_monai.segmentation.found_nuclei import FoundNuclei
from monch_monai.segmentation.nuclei_table import SCHEMA, circularity, table
from monch_monai.segmentation.outlines_file import Outlines, listed, moved, read_outlines
from monch_monai.segmentation.placement import LEAST_SHARE, evidence
from monch_monai.segmentation.regions import MARGIN_UM
from monch_monai.slides import Slide

logger = logging.getLogger(__name__)


class GivenNuclei:
    """Outlines of a GeoJSON file, in px of level 0. Each keeps its outline and gets the class with the largest mean
    probability over the pixels in it, whatever class the class map has at single pixels.

    Args:
        outlines: of the file.
        path: of the file, in messages.
        digest: SHA-256 of the file.

    Attributes:
        polygons: outlines of the nuclei, once they are placed px of the slide's level 0.
        sources: place of each among the outlines of the file.
        report: what summaries state of the file.
    """

    originals: dict[int, dict[str, Any]] | None

    def __init__(self, outlines: Outlines, path: str | Path = "", digest: str = "") -> None:
        self.outlines, self.path, self.settings = outlines, path, {"sha256": digest}
        self.report: dict[str, Any] = {}
        self._take(outlines)

    def _take(self, outlines: Outlines) -> None:
        self.polygons, self.sources = outlines.polygons, outlines.places
        self.originals = dict(zip(outlines.places.tolist(), outlines.features, strict=True))

    @classmethod
    def read(cls, path: str | Path) -> "GivenNuclei":
        """The outlines of a file, plain or gzip.

        Raises:
            InputError: the file does not exist, is a folder or is no GeoJSON of nuclei; see `read_outlines`.
        """
        path = existing_file(f"nuclei {path}", path, "give a GeoJSON file of outlines")
        return cls(read_outlines(path), path, sha256(path))

    def added_tissue(self, slide: Slide, grid: WorkingGrid) -> list[WorkingBox]:
        """Places the outlines on the slide; returns the box of each.

        Where only a part of the file was scanned, outlines may be in px of that part, as QuPath writes them, or of the
        whole file. Those are taken under which more of the outlines are darker than what is around them. Left out are
        outlines of no stated type that are longer than 64 µm, which no nucleus is, and those outside the slide.

        Raises:
            InputError: fewer than a tenth of the outlines lie on anything but glass, or the slide is damaged there.
        """
        um = grid.um2_per_level0_px**0.5
        bounds = shapely.bounds(self.outlines.polygons).reshape(-1, 4)
        small = (bounds[:, 2:] - bounds[:, :2]).max(axis=1, initial=0) * um <= 2 * MARGIN_UM
        outlines = self.outlines.kept(small | self.outlines.typed, f"longer than {2 * MARGIN_UM:g} µm")
        origin = slide.origin
        found = {(0, 0): evidence(outlines.polygons, slide, grid)}
        if origin != (0, 0):
            found[origin] = evidence(_less(outlines.polygons, *origin), slide, grid)
        (x, y) = max(found, key=lambda start: found[start].darker)
        shown = found[x, y]
        if shown.on_tissue < LEAST_SHARE:
            where = f"{shown.inside:.0%} are on the slide, {shown.on_tissue:.0%} on more than glass"
            remedy = "give the outlines of this slide, in px of its level 0"
            raise InputError(f"nuclei {self.path} lie on no tissue of {slide.name} ({where}): {remedy}")
        if (x, y) != (0, 0):
            features = [moved(feature, -x, -y) for feature in outlines.features]
            outlines = outlines._replace(polygons=_less(outlines.polygons, x, y), features=features)
        places = shapely.get_coordinates(shapely.centroid(outlines.polygons)) / grid.per_level0
        outlines = outlines.kept(grid.box.owns(places), "outside the slide")
        self._take(outlines)
        self._log(outlines, shown.darker, (x, y), Path(slide.name).name)
        corners = shapely.bounds(self.polygons).reshape(-1, 4) / (2 * grid.per_level0)
        low, high = np.floor(corners[:, :2]).astype(int), np.ceil(corners[:, 2:]).astype(int)
        return [
            WorkingBox.between(x, y, max(r, x + 1), max(b, y + 1)) for (x, y), (r, b) in zip(low, high, strict=True)
        ]

    def _log(self, outlines: Outlines, darker: float, origin: tuple[int, int], slide: str) -> None:
        name, left = Path(self.path).name, {reason: n for reason, n in outlines.left_out.items() if n}
        self.report = {"file": name, "nuclei": len(outlines.polygons), "left_out": left, "origin_in_file": list(origin)}
        logger.info("%s: %d nuclei of %s", slide, len(outlines.polygons), name)
        if left:
            logger.warning("%s: of %s were left out: %s", slide, name, listed(outlines.left_out))
        elif not len(outlines.polygons):
            logger.warning("%s: %s holds no outline", slide, name)
        if origin != (0, 0):
            logger.info("%s: %s is in px of the whole file, whose scanned part begins at %s", slide, name, origin)
        if darker < 0.5:
            doubt = "%s: only %.0f %% of the outlines of %s are darker than what is around them: are they this slide's?"
            logger.warning(doubt, slide, 100 * darker, name)

    def part(self, core: WorkingBox, grid: WorkingGrid) -> "GivenNuclei":
        """The outlines whose centroid lies in the core, without their Features."""
        ours = core.owns(shapely.get_coordinates(shapely.centroid(self.polygons)) / grid.per_level0)
        part: GivenNuclei = GivenNuclei.__new__(GivenNuclei)
        part.originals, part.settings, part.polygons, part.sources = {}, {}, self.polygons[ours], self.sources[ours]
        return part

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


def _less(polygons: NDArray[np.object_], x: float, y: float) -> Any:
    return shapely.transform(polygons, lambda points: points - (x, y))


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
