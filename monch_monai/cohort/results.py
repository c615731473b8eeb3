"""The files of a segmented slide."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from monch_monai.class_table import ClassTable
from monch_monai.cohort.pyramid import write_pyramid
from monch_monai.cohort.summary import Counts, Thumbnail, draw_tissue
from monch_monai.cohort.work_folder import TILE, WorkFolder
from monch_monai.errors import InputError
from monch_monai.geometry import WorkingBox
from monch_monai.segmentation import GeoJsonFile, NucleusFinder, ParquetFile, Plan
from monch_monai.slides import overview

logger = logging.getLogger(__name__)

THUMBNAIL = 2000
"""Longer side of the pictures, px."""
SUMMARY = "summary.json"
NUCLEI_TABLE = "nuclei.parquet"


def write_results(
    folder: Path,
    plan: Plan,
    work: WorkFolder,
    finder: NucleusFinder,
    class_table: ClassTable,
    gzip: bool,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Writes every file of a slide whose regions are finished; returns the content of `summary.json`.

    One region's nuclei and one square of the class map are in memory at a time.

    Args:
        folder: empty.
        plan: of the slide.
        work: its finished regions.
        finder: what made the nuclei.
        class_table: the classes.
        gzip: whether GeoJSON is compressed.
        settings: what the slide was segmented with.

    Raises:
        InputError: the slide is damaged.
        OSError: the disk is full.
    """
    about, grid = {**plan.about(), "classes": class_table.names}, plan.grid
    picture_of = overview(plan.slide, max(1.0, max(plan.slide.sizes[0]) / THUMBNAIL))
    counts, picture = Counts(class_table), Thumbnail(picture_of, plan.slide.size, plan.tissue, class_table)
    with (
        GeoJsonFile(
            folder / ("nuclei.geojson.gz" if gzip else "nuclei.geojson"), about, class_table, finder.originals
        ) as geojson,
        ParquetFile(folder / NUCLEI_TABLE, about, class_table) as parquet,
    ):
        for nuclei in work.nuclei([region.core for region in plan.regions()]):
            for one in (counts, picture, geojson, parquet):
                one.add(nuclei)

    def square(row: int, column: int) -> NDArray[np.uint8] | None:
        y, x = row * TILE // plan.side * plan.side, column * TILE // plan.side * plan.side
        return work.square(WorkingBox(x, y, plan.side, plan.side), row, column)

    write_pyramid(
        folder / "classes.ome.tif", grid.box, grid.mpp, square, json.dumps(about), class_table, json.dumps(settings)
    )
    text = PngImagePlugin.PngInfo()
    text.add_itxt("monch", json.dumps(about))
    picture.picture.save(folder / "thumbnail.png", pnginfo=text)
    Image.fromarray(draw_tissue(picture_of, plan.tissue)).save(folder / "tissue.png", pnginfo=text)
    summary = {**about, **counts.as_dict(plan.tissue.area_mm2(grid)), "settings": settings}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary


def earlier_summary(target: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Content of `summary.json` of a slide that is done.

    Args:
        target: folder of its results.
        settings: what it is to be segmented with.

    Raises:
        InputError: the slide was segmented with other settings, or the folder holds no slide's results.
    """
    file = target / SUMMARY
    if not file.is_file():
        raise InputError(f"{target} exists and is no slide's results: give another --output_dir")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    earlier = summary.get("settings", {})
    changed = [name for name in {**settings, **earlier} if earlier.get(name) != settings.get(name)]
    if changed:
        raise InputError(f"{target} was made with another {changed[0]}: remove it or give another --output_dir")
    logger.info("%s is done already", target)
    return summary
