import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.slides.geometry import Box, Mpp, Size, working_grid
from monch_monai.slides.segment import margin_px, regions
from monch_monai.slides.stitching import Prediction, cut_cell, owned, paste_cell
from monch_monai.slides.tiling import Lattice, cores

LATTICES = [Lattice(256, 0.25), Lattice(96, 0.5), Lattice(63, 0.1), Lattice(64, 0)]


@pytest.mark.parametrize("side", [512, 100, 7])
def test_cores_cover_every_pixel_once(side):
    count = np.zeros((130, 217), int)
    for core in cores(Box(0, 0, 217, 130), side):
        count[core.y : core.bottom, core.x : core.right] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_cells_cover_a_box_once_and_lie_within_what_their_tiles_see(lattice):
    box = Box(-30, 100, 700, 333)
    count = np.zeros((box.height, box.width), int)
    for index in lattice.cells(box):
        cell, window = lattice.cell(index), lattice.window(index)
        count[cell.common(box).within(box)] += 1
        assert cell.common(window) == cell
        assert window.width == window.height == lattice.tile
        assert lattice.hull([index]) == window
    assert (count == 1).all()


@pytest.mark.parametrize(("tile", "overlap"), [(256, 1), (256, -0.1), (256, "half"), (8, 0.25), (256.0, 0.25)])
def test_refuses_what_makes_no_lattice(tile, overlap):
    with pytest.raises(InputError, match=r"tile_size is|overlap is"):
        Lattice(tile, overlap)


def test_a_nucleus_belongs_to_exactly_one_core():
    points = np.random.default_rng(0).uniform(0, 300, (500, 2))
    points = np.concatenate([points, [[0, 0], [100, 100], [200, 50], [299.9, 299.9], [100, 0]]])
    owners = np.stack([owned(core, points) for core in cores(Box(0, 0, 300, 300), 100)])
    assert (owners.sum(axis=0) == 1).all()
    assert owned(Box(100, 100, 100, 100), np.array([[100.0, 100.0]])).all()  # on its left and top edge


def test_a_region_sees_a_margin_and_runs_the_tiles_it_needs():
    grid = working_grid(Size(3000, 2000), Mpp(0.25, 0.25), [1], 0.25)
    lattice = LATTICES[0]
    assert margin_px(grid) == 128
    found = list(regions(grid.box, grid, lattice, 1024))
    assert [region.core[:2] for region in found] == [(x, y) for y in (0, 1024) for x in (0, 1024, 2048)]
    assert found[4].view == Box(896, 896, 1280, 1104)  # cut at the slide's foot
    assert found[4].cells == lattice.cells(found[4].view)
    only = list(regions(grid.box, grid, lattice, 1024, lambda box: box.x >= 2048))
    assert [region.core.x for region in only] == [2048, 2048]
    assert all(lattice.cell(cell).x >= 2048 for region in only for cell in region.cells)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_what_tiles_answer_for_makes_the_map_whatever_the_view(lattice):
    """Each tile answers with what the whole map says of what it sees: any view must come out as that map's part."""
    whole, reach = Box(0, 0, 400, 300), 300
    padded = np.random.default_rng(1).integers(0, 6, (300 + 2 * reach, 400 + 2 * reach)).astype(np.uint8)
    for view in (Box(0, 0, 400, 300), Box(100, 50, 150, 97), Box(399, 299, 1, 1)):
        made = Prediction.background(view.height, view.width)
        for cell in lattice.cells(view):
            seen = padded[lattice.window(cell).within(whole.grown(reach))]
            tile = Prediction(seen, np.repeat(seen[None].astype(np.float16), 5, axis=0))
            paste_cell(made, view, lattice, cell, cut_cell(tile, lattice, cell))
        assert np.array_equal(made.class_map, padded[view.within(whole.grown(reach))])
        assert np.array_equal(made.probs[4], made.class_map)
