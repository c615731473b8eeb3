"""Nuclei of an image, or of a part of a slide that a person looks at, in this process and in memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monch_monai.geometry import Level0Box, WorkingBox, WorkingGrid
from monch_monai.nuclei import rasterise
from monch_monai.predict import Lattice, MemoryCache, Prediction, Predictor, Tiling, cut
from monch_monai.segmentation.finder import NucleusFinder
from monch_monai.segmentation.found_nuclei import FoundNuclei
from monch_monai.segmentation.nuclei_table import SCHEMA, polygons_of
from monch_monai.segmentation.regions import Region, margin_px, predict_region, read_tiles, regions
from monch_monai.slides import Slide, Tissue, grid_of


class SegmentedRegion(NamedTuple):
    """A region, the prediction `[H, W]` of its view, and its nuclei, a table of `SCHEMA`."""

    region: Region
    view: Prediction
    nuclei: pa.Table


class ImageNuclei(NamedTuple):
    """The nuclei of an image, in its own pixels.

    `table` is of `SCHEMA`; `classes` `[K]` uint8 and `instance_map` `[H, W]` int32 number nuclei from 1 to K in its
    order.
    """

    table: pa.Table
    classes: NDArray[np.uint8]
    instance_map: NDArray[np.int32]


def find_nuclei(prediction: Prediction, grid: WorkingGrid, finder: NucleusFinder, image: Level0Box) -> ImageNuclei:
    """Nuclei of an image whose prediction, `[H, W]` working px, is in memory: the same that it has as a slide.

    `image` is the box of the whole image, px of level 0.
    """
    tables = [SCHEMA.empty_table()]
    for region in regions(grid.box, grid, Tiling().over(grid.box)):
        view = cut(prediction, grid.box, region.view)
        tables.append(finder(view, region.view, region.core, grid))
    table = pa.concat_tables(tables)
    return ImageNuclei(table, table["class_index"].to_numpy(), rasterise(polygons_of(table), image))


def segment_regions(
    slide: Slide,
    predictor: Predictor,
    part: Level0Box | None = None,
    finder: NucleusFinder | None = None,
    tiling: Tiling | None = None,
    tissue: Tissue | None = None,
) -> Iterator[SegmentedRegion]:
    """Segments the regions of a part of a slide, one after another; arguments and errors as in `segment_part`.

    Only in `tissue` and near it the network runs, and only there nuclei are; None is everywhere.
    """
    grid = grid_of(slide)
    lattice, cache = (tiling or Tiling()).over(grid.box), MemoryCache()
    find = finder if finder is not None else FoundNuclei()
    for region in part_regions(grid, lattice, part, tissue):
        cache.drop_above(lattice, region.view.y)
        pixels = read_tiles(slide, grid, lattice, region.cells)
        view = predict_region(pixels, region, lattice, predictor, margin_px(grid), cache)
        nuclei = find(view, region.view, region.core, grid)
        places = np.stack([nuclei["x"].to_numpy(), nuclei["y"].to_numpy()], axis=1)
        ours = np.ones(len(places), bool) if part is None else part.owns(places)
        if tissue is not None:
            ours &= tissue.holds(places / grid.per_level0)
        yield SegmentedRegion(region, view, nuclei.filter(ours))


def part_regions(
    grid: WorkingGrid, lattice: Lattice, part: Level0Box | None = None, tissue: Tissue | None = None
) -> Iterator[Region]:
    """Regions of a part of level 0 (None: the whole) that have tissue (None: everywhere), with the tiles near that."""
    covered: WorkingBox = grid.box if part is None else grid.covering(part)
    if tissue is None:
        yield from regions(covered, grid, lattice)
        return
    for region in regions(covered, grid, lattice, needed=tissue.grown(margin_px(grid)).touches):
        if tissue.touches(region.core):
            yield region


def segment_part(
    slide: Slide,
    predictor: Predictor,
    part: Level0Box | None = None,
    finder: NucleusFinder | None = None,
    tiling: Tiling | None = None,
) -> pa.Table:
    """Nuclei whose centroid lies in a part of a slide, each whole: the same that a run of the slide finds there.

    (A run leaves out nuclei outside the tissue, and lightens slides that are darker than its network's training; a
    `LightenedSlide` of the slide does that here.)

    Args:
        slide: a slide, or an image in memory as `ImageSlide(pixels, mpp)`; its `mpp` must be known.
        predictor: predicts tiles.
        part: of level 0; the whole slide when not given.
        finder: makes nuclei; the watershed by default.
        tiling: settings of the tiles; those of `Tiling()` by default.

    Returns:
        A table of `SCHEMA`; `polygons_of(table)` are the outlines.

    Raises:
        InputError: the slide is damaged there.
        ValueError: the slide's mpp is not known.
    """
    found = segment_regions(slide, predictor, part, finder, tiling)
    return pa.concat_tables([SCHEMA.empty_table(), *(each.nuclei for each in found)])
