"""Regions: how the work on a slide or image is cut up, and the prediction of one.

Each pixel lies in the core of exactly one region. A region is seen with a margin around its core, its *view*.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.predict import Cell, Lattice, Prediction, Predictor, TileCache, cut, paste, run_tiles
from monch_monai.slides import Slide, read_working

MARGIN_UM = 32.0
"""How far a region is seen beyond its core: nuclei of up to twice that, 64 µm, are whole in the region that reports
them."""
REGION = 2048
"""Side of a region's core, working px."""


class Region(NamedTuple):
    """A region: its core, what is seen around it, and the tiles to run."""

    core: WorkingBox
    view: WorkingBox
    cells: list[Cell]


def regions(
    part: WorkingBox,
    grid: WorkingGrid,
    lattice: Lattice,
    side: int = REGION,
    needed: Callable[[WorkingBox], bool] = lambda box: True,
) -> Iterator[Region]:
    """Regions that cover a part of a slide or image, row by row; their cores have a `side` in working px.

    Cores and cells that are not `needed` are left out.
    """
    margin = margin_px(grid)
    for core in part.common(grid.box).squares(side):
        view = core.grown(margin).common(grid.box)
        if needed(core):
            yield Region(core, view, [cell for cell in lattice.cells(view) if needed(lattice.cell(cell))])


def margin_px(grid: WorkingGrid) -> int:
    """`MARGIN_UM` in working px."""
    return math.ceil(MARGIN_UM / min(grid.mpp.x, grid.mpp.y))


def read_tiles(slide: Slide, grid: WorkingGrid, lattice: Lattice, cells: list[Cell]) -> NDArray[np.uint8]:
    """RGB `[H, W, 3]` of the hull of tiles; where that reaches beyond the image, its last row and column are repeated.

    Raises:
        InputError: the slide's file is damaged there.
    """
    hull = lattice.hull(cells)
    inside = hull.common(grid.box)
    pixels = read_working(slide, grid, inside)
    return np.pad(pixels, ((0, hull.bottom - inside.bottom), (0, hull.right - inside.right), (0, 0)), mode="edge")


def predict_region(
    pixels: NDArray[np.uint8],
    region: Region,
    lattice: Lattice,
    predictor: Predictor,
    margin: int,
    cache: TileCache | None = None,
) -> Prediction:
    """Prediction of a region's view by the RGB pixels of its tiles' hull; background where no tile was to run.

    `margin` is that of regions, px. `cache` holds predictions of earlier regions' tiles; those that another region
    needs too are added.
    """
    hull = lattice.hull(region.cells) if region.cells else region.view
    inner = region.core.grown(-margin)  # no other region sees this
    view = Prediction.empty(region.view.height, region.view.width, len(predictor.class_table))

    def put(source: Prediction, box: WorkingBox, cell: WorkingBox) -> None:
        nonlocal view
        if len(source.distance) != len(view.distance):
            distance = np.zeros((len(source.distance), *view.class_map.shape), source.distance.dtype)
            view = view._replace(distance=distance)
        for target, array in zip(view, source, strict=True):
            paste(target, region.view, array, box, cell)

    missing = []
    for cell in region.cells:
        known = cache.get(cell) if cache is not None else None
        if known is None:
            missing.append(cell)
        else:
            put(known, lattice.cell(cell), lattice.cell(cell))

    def run(some: list[Cell]) -> Iterator[Prediction]:
        found = predictor(np.stack([pixels[lattice.window(cell).within(hull)] for cell in some]))
        return (Prediction(*arrays) for arrays in zip(*found, strict=True))

    for cell, tile in run_tiles(missing, lattice, run):
        put(tile, lattice.window(cell), lattice.cell(cell))
        if cache is not None and lattice.cell(cell).common(inner) != lattice.cell(cell):
            cache.put(cell, cut(tile, lattice.window(cell), lattice.cell(cell)))
    return view
