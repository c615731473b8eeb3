"""The files of a segmented slide."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from monch_monai.slides.geometry import Box
from monch_monai.slides.given_nuclei import GivenNuclei
from monch_monai.slides.nuclei_table import NucleusFinder
from monch_monai.slides.outputs import GeoJsonFile, ParquetFile
from monch_monai.slides.plan import Plan
from monch_monai.slides.pyramid import write_pyramid
from monch_monai.slides.reading import overview
from monch_monai.slides.summary import Counts, Thumbnail, draw_tissue
from monch_monai.slides.work_folder import TILE, WorkFolder

THUMBNAIL = 2000
"""Longer side of the pictures, px."""
SUMMARY = "summary.json"


def write_results(
    folder: Path, plan: Plan, work: WorkFolder, find: NucleusFinder, gzip: bool, settings: dict[str, Any]
) -> dict[str, Any]:
    """Writes every file of a slide whose regions are finished; returns what `summary.json` says.

    One region's nuclei and one square of the class map are in memory at a time.

    Args:
        folder: empty.
        plan: of the slide.
        work: its finished regions.
        find: what made the nuclei.
        gzip: whether GeoJSON is compressed.
        settings: what the slide was segmented with.

    Raises:
        InputError: the slide is damaged.
        OSError: the disk is full.
    """
    about, grid = plan.about(), plan.grid
    small = overview(plan.slide, max(1.0, max(plan.slide.sizes[0]) / THUMBNAIL))
    counts, picture = Counts(), Thumbnail(small, plan.slide.size, plan.tissue)
    originals = find.features if isinstance(find, GivenNuclei) else None
    with (
        GeoJsonFile(folder / ("nuclei.geojson.gz" if gzip else "nuclei.geojson"), about, originals) as geojson,
        ParquetFile(folder / "nuclei.parquet", about) as parquet,
    ):
        for nuclei in work.nuclei([region.core for region in plan.regions()]):
            for one in (counts, picture, geojson, parquet):
                one.add(nuclei)

    def square(row: int, column: int) -> NDArray[np.uint8] | None:
        y, x = row * TILE // plan.side * plan.side, column * TILE // plan.side * plan.side
        return work.square(Box(x, y, plan.side, plan.side), row, column)

    write_pyramid(folder / "classes.ome.tif", grid.width, grid.height, grid.mpp, square, json.dumps(about))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("monch", json.dumps(about))
    picture.picture.save(folder / "thumbnail.png", pnginfo=text)
    Image.fromarray(draw_tissue(small, plan.tissue)).save(folder / "tissue.png", pnginfo=text)
    summary = {**about, **counts.as_dict(plan.tissue.area_mm2(grid.mpp)), "settings": settings}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary
