import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.geometry import WorkingBox
from monch_monai.predict import Tiling, run_tiles

TILINGS = [Tiling(256, 0.25), Tiling(96, 0.5), Tiling(63, 0.1), Tiling(64, 0)]
SIZES = [(700, 433), (256, 256), (257, 100), (40, 1000), (448, 449)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_cells_cover_an_image_once_and_lie_within_what_their_tiles_see(tiling, size):
    image = WorkingBox(0, 0, *size)
    lattice = tiling.over(image)
    count = np.zeros((image.height, image.width), int)
    for index in lattice.cells(image):
        cell, window = lattice.cell(index), lattice.window(index)
        count[cell.within(image)] += 1
        assert cell.common(window) == cell
        assert (window.width, window.height) == (tiling.tile_size, tiling.tile_size)
        assert window.right <= max(size[0], tiling.tile_size)
        assert window.bottom <= max(size[1], tiling.tile_size)
        assert lattice.hull([index]) == window
    assert (count == 1).all()


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_a_pixel_inside_an_image_is_seen_with_what_lies_around_it(tiling):
    image = WorkingBox(0, 0, 700, 500)
    lattice, least = tiling.over(image), (tiling.tile_size - round(tiling.tile_size * (1 - tiling.overlap))) // 2
    for index in lattice.cells(image):
        cell, window = lattice.cell(index), lattice.window(index)
        assert cell.x == 0 or cell.x - window.x >= least
        assert cell.bottom == 500 or window.bottom - cell.bottom >= least


@pytest.mark.parametrize(
    "box", [WorkingBox(100, 50, 150, 97), WorkingBox(699, 432, 1, 1), WorkingBox(-30, -5, 40, 900)]
)
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_a_box_has_the_tiles_whose_cells_it_meets(tiling, box):
    image = WorkingBox(0, 0, 700, 433)
    lattice = tiling.over(image)
    meet = [
        index
        for index in lattice.cells(image)
        if lattice.cell(index).common(box).width * lattice.cell(index).common(box).height
    ]
    assert lattice.cells(box) == meet
    assert lattice.cells(WorkingBox(700, 0, 50, 50)) == []


def test_an_image_no_larger_than_a_tile_is_one_tile():
    lattice = Tiling().over(WorkingBox(0, 0, 256, 100))
    assert lattice.cells(lattice.image) == [(0, 0)]
    assert lattice.cell((0, 0)) == lattice.image
    assert lattice.window((0, 0)) == WorkingBox(0, 0, 256, 256)
    assert lattice.batch == 1


@pytest.mark.parametrize(("tile", "overlap"), [(256, 1), (256, -0.1), (256, "half"), (8, 0.25), (256.0, 0.25)])
def test_refuses_what_makes_no_lattice(tile, overlap):
    with pytest.raises(InputError, match=r"tile_size is|overlap is"):
        Tiling(tile, overlap)


def test_batches_have_one_size_whatever_the_number_of_tiles():
    lattice = Tiling(batch_size=4).over(WorkingBox(0, 0, 1000, 1000))
    sizes = []

    def run(cells):
        sizes.append(len(cells))
        return [cell[0] * 10 + cell[1] for cell in cells]

    cells = [(i, 2 * i) for i in range(6)]
    assert list(run_tiles(cells, lattice, run)) == [(cell, cell[0] * 10 + cell[1]) for cell in cells]
    assert sizes == [4, 4]
