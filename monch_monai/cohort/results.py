"""The files of a segmented slide."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from monch_monai.class_table import ClassTable
from monch_monai.cohort.summary import Counts, Thumbnail, draw_tissue
from monch_monai.cohort.work_folder import WorkFolder
from monch_monai.errors import InputError
from monch_monai.geometry import WorkingBox
from monch_monai.segmentation import Features, Neighbourhood, NucleusFinder, Plan
from monch_monai.settings import flag
from monch_monai.slides import overview
from monch_monai.writers import (
    SLIDE_FORMATS,
    TILE,
    NucleusFile,
    Source,
    chosen_formats,
    nucleus_files,
    provenance,
    write_maps,
)

logger = logging.getLogger(__name__)

THUMBNAIL = 2000
"""Longer side of the pictures, px."""
SUMMARY = "summary.json"
THUMBNAIL_FILE, TISSUE_FILE = "thumbnail.png", "tissue.png"


class Wanted(NamedTuple):
    """What is written of a slide.

    Attributes:
        formats: by `monch_monai.writers.chosen_formats`.
        gzip: whether GeoJSON is compressed.
        features: whether nuclei have the columns of `feature_quantities`.
    """

    formats: Sequence[str] = SLIDE_FORMATS
    gzip: bool = False
    features: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that change what is written of finished regions, and not these."""
        return {"write": list(self.formats), "gzip": self.gzip, "features": self.features}


def wanted_results(
    write: str | Sequence[str] = SLIDE_FORMATS, gzip: bool | str = False, features: bool | str = False
) -> Wanted:
    """What is written of slides, by the settings.

    Args:
        write: names of formats.
        gzip: whether GeoJSON is written as `nuclei.geojson.gz`.
        features: whether nuclei have features.

    Raises:
        InputError: `write` has no format, one that is unknown, or one whose package is not installed; or `gzip` or
            `features` is neither true nor false.
    """
    return Wanted(chosen_formats("write", write), flag("gzip", gzip), flag("features", features))


def write_results(
    folder: Path,
    plan: Plan,
    work: WorkFolder,
    finder: NucleusFinder,
    class_table: ClassTable,
    wanted: Wanted,
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
        wanted: which files.
        settings: what the slide was segmented with, without those of `wanted`.

    Raises:
        InputError: the slide is damaged, or a format cannot hold so much.
        OSError: the disk is full.
    """
    about, grid = provenance(plan.about(), class_table, settings["sources"]), plan.grid
    source = Source(
        Path(plan.slide.name), settings["slide"][1], plan.slide.size, plan.slide.resolution, grid, class_table, about,
        wanted.features, finder.originals, plan.slide.shown_from,
    )  # fmt: skip
    picture_of = overview(plan.slide, max(1.0, max(plan.slide.sizes[0]) / THUMBNAIL))
    counts, picture = (
        Counts(class_table),
        Thumbnail(picture_of, plan.slide.size, plan.slide.resolution, plan.tissue, class_table),
    )
    cores = [region.core for region in plan.regions()]
    featured = _features(plan, source, work.nuclei(cores)) if wanted.features else lambda nuclei: nuclei
    with ExitStack() as files:
        writers = [files.enter_context(file) for file in nucleus_files(wanted.formats, folder, source, wanted.gzip)]
        for nuclei in map(featured, work.nuclei(cores)):
            takers: list[Counts | Thumbnail | NucleusFile] = [counts, picture, *writers]
            for one in takers:
                one.add(nuclei)

    def square(row: int, column: int) -> NDArray[np.uint8] | None:
        y, x = row * TILE // plan.side * plan.side, column * TILE // plan.side * plan.side
        return work.square(WorkingBox(x, y, plan.side, plan.side), row, column)

    write_maps(wanted.formats, folder, source, square)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("monch", json.dumps(about))
    Image.fromarray(picture.drawn(counts.nuclei[1:].tolist())).save(folder / THUMBNAIL_FILE, pnginfo=text)
    Image.fromarray(draw_tissue(picture_of, plan.tissue)).save(folder / TISSUE_FILE, pnginfo=text)
    given = {"given_nuclei": finder.report} if finder.report else {}
    counted = {**counts.as_dict(plan.tissue.area_mm2(grid)), **given}
    summary = {**about, **counted, "settings": {**settings, **wanted.settings}}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary


def earlier_summary(target: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Content of `summary.json` of a slide that is done.

    Args:
        target: folder of its results.
        settings: what it is to be segmented with, and those of `Wanted`.

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


def _features(plan: Plan, source: Source, nuclei: Iterable[pa.Table]) -> Callable[[pa.Table], pa.Table]:
    return Features(plan.slide, plan.grid, Neighbourhood(nuclei, source.class_table, source.mpp))
