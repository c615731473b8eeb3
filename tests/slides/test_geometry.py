import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.slides.geometry import Box, Mpp, Point, Rectangle, Size, working_grid


@pytest.mark.parametrize("value", [0, -0.25, 40, float("inf"), "0.25", True, float("nan")])
def test_refuses_what_is_no_resolution(value):
    with pytest.raises(InputError, match="give µm per pixel, from 0 to 20"):
        Mpp(value, 0.25)


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
    assert (grid.width, grid.height) == (np.ceil(1000 / per_level0), np.ceil(800 / per_level0))
    assert grid.mpp.x == pytest.approx(mpp * per_level0)


def test_pixels_need_not_be_square():
    grid = working_grid(Size(1000, 1000), Mpp(0.5, 0.25), [1], 0.25)
    assert grid.per_level0 == (0.5, 1)
    assert grid.to_level0(np.array([[10, 10]])).tolist() == [[5, 10]]


def test_a_rectangle_is_covered_by_its_box():
    grid = working_grid(Size(1000, 1000), Mpp(0.5, 0.5), [1], 0.25)
    assert grid.box_of(Rectangle(Point(10.25, 20), Size(5, 5))) == Box(20, 40, 11, 10)


def test_boxes():
    assert Box(0, 0, 10, 10).common(Box(8, 5, 10, 10)) == Box(8, 5, 2, 5)
    assert Box(0, 0, 4, 4).common(Box(8, 8, 4, 4))[2:] == (0, 0)
    assert Box(2, 3, 4, 5).grown(2) == Box(0, 1, 8, 9)
    assert Box(5, 7, 2, 3).within(Box(4, 4, 10, 10)) == (slice(3, 6), slice(1, 3))
