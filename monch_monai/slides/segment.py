"""From pixels to whole nuclei: a region of a slide, and any rectangle of a slide or of an image in memory."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monch_monai.inferers import NETWORK_MPP
from monch_monai.settings import whole_number
from monch_monai.slides.geometry import Box, Grid, Rectangle, working_grid
from monch_monai.slides.nuclei_table import SCHEMA, FoundNuclei, NucleusFinder
from monch_monai.slides.predictors import Predictor
from monch_monai.slides.reading import read_grid
from monch_monai.slides.slide import Slide
from monch_monai.slides.stitching import Prediction, cut_cell, paste_cell
from monch_monai.slides.tiling import Cell, Lattice, cores

MARGIN_UM = 32.0
"""How far a region is seen beyond its core: nuclei of up to twice that, 64 µm, are whole in the region that reports
them."""
REGION = 2048
"""Side of a region's core, working px."""

T = TypeVar("T")


class Region(NamedTuple):
    """A region: its core, what is seen around it, and the tiles to run."""

    core: Box
    view: Box
    cells: list[Cell]


class Answers(Protocol):
    """Keeps what tiles answered, for the regions next to theirs."""

    def get(self, cell: Cell) -> Prediction | None:
        """What the tile answered for its cell, if it has been kept."""

    def put(self, cell: Cell, answer: Prediction) -> None:
        """Keeps an answer."""


def regions(
    part: Box, grid: Grid, lattice: Lattice, side: int, needed: Callable[[Box], bool] = lambda box: True
) -> Iterator[Region]:
    """Regions that cover a part of a slide, row by row.

    Args:
        part: what to cover.
        grid: the working grid.
        lattice: of the tiles.
        side: of a core, px.
        needed: whether a box must be segmented; cells that need not be are left out, and cores too.
    """
    margin = margin_px(grid)
    for core in cores(part.common(grid.box), side):
        view = core.grown(margin).common(grid.box)
        if needed(core):
            yield Region(core, view, [cell for cell in lattice.cells(view) if needed(lattice.cell(cell))])


def margin_px(grid: Grid) -> int:
    """`MARGIN_UM` in working px."""
    return math.ceil(MARGIN_UM / min(grid.mpp.x, grid.mpp.y))


def predict(
    pixels: NDArray[np.uint8],
    region: Region,
    lattice: Lattice,
    predictor: Predictor,
    batch_size: int,
    margin: int,
    answers: Answers | None = None,
) -> Prediction:
    """What the network says of a region's view; background where no tile was to run.

    Args:
        pixels: RGB of the hull of the region's tiles.
        region: to predict.
        lattice: of the tiles.
        predictor: the network.
        batch_size: tiles at once; the last batch is filled up, so that no answer depends on how many there are.
        margin: of regions, px.
        answers: of tiles that an earlier region ran; tiles that another region needs too are added.
    """
    hull = lattice.hull(region.cells)
    inner = region.core.grown(-margin)  # no other region sees this
    view = Prediction.background(region.view.height, region.view.width)
    missing = []
    for cell in region.cells:
        known = answers.get(cell) if answers is not None else None
        if known is None:
            missing.append(cell)
        else:
            paste_cell(view, region.view, lattice, cell, known)
    for some in batches(missing, batch_size):
        filled = some + [some[-1]] * (batch_size - len(some))
        found = predictor(np.stack([pixels[lattice.window(cell).within(hull)] for cell in filled]))
        for cell, class_map, probs in zip(some, found.class_map, found.probs, strict=False):
            answer = cut_cell(Prediction(class_map, probs), lattice, cell)
            paste_cell(view, region.view, lattice, cell, answer)
            if answers is not None and lattice.cell(cell).common(inner) != lattice.cell(cell):
                answers.put(cell, answer)
    return view


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items, in their order."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


class RememberedAnswers(dict[Cell, Prediction]):
    """Answers kept in memory."""

    def put(self, cell: Cell, answer: Prediction) -> None:
        """Keeps an answer."""
        self[cell] = answer


def segment_rectangle(
    slide: Slide,
    predictor: Predictor,
    rectangle: Rectangle | None = None,
    find: NucleusFinder | None = None,
    tile_size: int = 256,
    overlap: float = 0.25,
    batch_size: int = 4,
    working_mpp: float = NETWORK_MPP,
) -> pa.Table:
    """Nuclei whose centroid lies in a rectangle, each whole, in px of level 0; the same that a run of the slide finds.

    (A run lightens slides that are darker than its network's training; a `LightenedSlide` of the slide does so here.)

    For rectangles that a person looks at: it runs in this process, and tiles' answers stay in memory.

    Args:
        slide: a slide, or an image in memory as `ImageSlide(pixels, mpp)`; its `mpp` must be known.
        predictor: the network.
        rectangle: at level 0; the whole slide when not given.
        find: makes nuclei; the watershed by default.
        tile_size: px of the working grid that the network sees at once.
        overlap: share of a tile that it shares with the next.
        batch_size: tiles at once.
        working_mpp: µm per pixel that the network was trained for.

    Returns:
        A table of `nuclei_table.SCHEMA`; `shapely.from_wkb(table["geometry"])` gives its outlines.

    Raises:
        InputError: the slide is damaged there, or a setting is no usable number.
        ValueError: the slide's mpp is not known.
    """
    whole_number("batch_size", batch_size, least=1)
    find = find if find is not None else FoundNuclei()
    grid = working_grid(slide.size, slide.resolution, slide.downsamples, working_mpp)
    lattice, margin, answers = Lattice(tile_size, overlap), margin_px(grid), RememberedAnswers()
    part = grid.box if rectangle is None else grid.box_of(rectangle)
    tables = [SCHEMA.empty_table()]
    for region in regions(part, grid, lattice, REGION):
        pixels = read_grid(slide, grid, lattice.hull(region.cells))
        view = predict(pixels, region, lattice, predictor, batch_size, margin, answers)
        tables.append(find(view, region.view, region.core, grid))
    return pa.concat_tables(tables)
