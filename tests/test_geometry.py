import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box, LevelBox, Mpp, Size, WorkingBox, working_grid


@pytest.mark.parametrize("value", [0, -0.25, 1e-9, 40, np.inf, "0.25", True, np.True_, np.nan, np.float32("nan")])
def test_refuses_what_is_no_resolution(value):
    with pytest.raises(InputError, match=r"give µm per pixel, from 0.02 up to 2"):
        Mpp(value, 0.25)
    if isinstance(value, float):
        assert Mpp.stated(0.25, value) is None


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), np.int64(1)])
def test_a_number_of_numpy_is_a_resolution(value):
    found = Mpp(value, value)
    assert found == Mpp(float(value), float(value))
    assert type(found.x) in (int, float)


@pytest.mark.parametrize(
    ("mpp", "downsamples", "level", "per_level", "per_level0"),
    [
        (0.25, [1, 4], 0, 1, 1),
        (0.252, [1, 4], 0, 1, 1),  # near enough: as it is
        (0.125, [1, 2, 4], 1, 1, 2),
        (0.5, [1, 2], 0, 0.5, 0.5),  # coarser: enlarged
        (0.1, [1, 2, 4], 1, 1.25, 2.5),  # between: from the finer level
        (0.05, [1, 4, 16], 1, 1.25, 5),
    ],
)
def test_the_working_grid_is_the_nearest_level_or_made_of_the_finer_one(mpp, downsamples, level, per_level, per_level0):
    grid = working_grid(Size(1000, 800), Mpp(mpp, mpp), downsamples, 0.25)
    assert (grid.level, *grid.per_level) == (level, pytest.approx(per_level), pytest.approx(per_level))
    assert grid.per_level0 == pytest.approx((per_level0, per_level0))
    assert (grid.box.width, grid.box.height) == (np.ceil(1000 / per_level0), np.ceil(800 / per_level0))
    assert grid.mpp.x == pytest.approx(mpp * per_level0)


def test_pixels_need_not_be_square():
    grid = working_grid(Size(1000, 1000), Mpp(0.5, 0.25), [1], 0.25)
    assert grid.per_level0 == (0.5, 1)
    assert grid.to_level0(np.array([[10, 10]])).tolist() == [[5, 10]]


def test_a_part_of_level_0_is_covered_by_its_box():
    grid = working_grid(Size(1000, 1000), Mpp(0.5, 0.5), [1], 0.25)
    assert grid.covering(Level0Box(10, 20, 5, 5)) == WorkingBox(20, 40, 10, 10)
    uneven = working_grid(Size(1000, 1000), Mpp(0.2, 0.2))
    assert uneven.covering(Level0Box(10, 20, 5, 5)) == WorkingBox(8, 16, 4, 4)
    assert uneven.covering(Level0Box(11, 20, 5, 5)) == WorkingBox(8, 16, 5, 4)


def test_boxes():
    assert WorkingBox(0, 0, 10, 10).common(WorkingBox(8, 5, 10, 10)) == WorkingBox(8, 5, 2, 5)
    assert tuple(WorkingBox(0, 0, 4, 4).common(WorkingBox(8, 8, 4, 4)))[2:] == (0, 0)
    assert LevelBox(2, 3, 4, 5).grown(2) == LevelBox(0, 1, 8, 9)
    assert LevelBox(5, 7, 2, 3).within(LevelBox(4, 4, 10, 10)) == (slice(3, 6), slice(1, 3))
    assert Level0Box.around((0.5, 1.0, 2.5, 3.0)) == Level0Box(0, 1, 3, 2)


def test_boxes_of_two_kinds_of_pixels_are_never_equal():
    assert Level0Box(0, 0, 10, 10) != WorkingBox(0, 0, 10, 10)
    assert type(Level0Box(0, 0, 10, 10).grown(1).common(Level0Box(0, 0, 5, 5))) is Level0Box


@pytest.mark.parametrize("side", [512, 100, 7])
def test_squares_cover_every_pixel_once(side):
    count = np.zeros((130, 217), int)
    for box in WorkingBox(0, 0, 217, 130).squares(side):
        count[box.y : box.bottom, box.x : box.right] += 1
    assert (count == 1).all()


def test_a_nucleus_belongs_to_exactly_one_core():
    points = np.random.default_rng(0).uniform(0, 300, (500, 2))
    points = np.concatenate([points, [[0, 0], [100, 100], [200, 50], [299.9, 299.9], [100, 0]]])
    owners = np.stack([core.owns(points) for core in WorkingBox(0, 0, 300, 300).squares(100)])
    assert (owners.sum(axis=0) == 1).all()
    assert WorkingBox(100, 100, 100, 100).owns(np.array([[100.0, 100.0]])).all()  # on its left and top edge


def test_pixels_of_level_0_find_the_working_pixel_at_their_centre():
    rows, columns = working_grid(Size(10, 6), Mpp(0.5, 0.5)).pixel_at(Level0Box(0, 0, 10, 6))
    assert rows.tolist() == [1, 3, 5, 7, 9, 11]
    assert columns[-1] == 19
    rows, columns = working_grid(Size(10, 6), Mpp(0.25, 0.25)).pixel_at(Level0Box(2, 1, 3, 2))
    assert (rows.tolist(), columns.tolist()) == ([1, 2], [2, 3, 4])
