import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.slides.geometry import Box, Mpp, Size, working_grid
from monch_monai.slides.tissue import Tissue, TissueFinder

UM2 = 64.0  # of a pixel at 8 µm


def picture(ground=(243, 243, 243), size=(200, 300)):
    return np.full((*size, 3), ground, np.uint8)


def test_tissue_is_what_is_stained():
    small = picture()
    small[50:150, 60:200] = (225, 180, 210)
    small[60:64, 70:74] = 243  # a gap within
    small[180:190, 10:290] = 10  # the scan's black edge
    small[5, 5] = (90, 30, 120)  # dust
    mask = TissueFinder().of_image(small, UM2)
    truth = np.zeros(mask.shape, bool)
    truth[50:150, 60:200] = True
    assert (mask ^ truth).sum() <= 4 * 240  # its edge, a pixel wide
    assert not mask[:40].any()
    assert not mask[170:].any()


def test_glass_alone_has_none_and_tissue_alone_is_all():
    noise = np.random.default_rng(0).integers(-3, 4, (200, 300, 3))
    assert not TissueFinder().of_image((picture() + noise).astype(np.uint8), UM2).any()
    assert TissueFinder().of_image((picture((225, 180, 210)) + noise).astype(np.uint8), UM2).all()
    assert not TissueFinder().of_image(picture(), UM2).any()


def test_threshold_and_smallest_piece_can_be_set():
    pale = picture()
    pale[50:60, 50:60] = (236, 232, 236)  # 6400 µm², saturation 0.017
    assert not TissueFinder(min_area_mm2=0).of_image(pale, UM2).any()
    assert TissueFinder(0.01, 0).of_image(pale, UM2).any()
    assert not TissueFinder(0.01, 0.1).of_image(pale, UM2).any()
    for settings in ({"threshold": 2}, {"threshold": "Otsu"}, {"min_area_mm2": -1}):
        with pytest.raises(InputError):
            TissueFinder(**settings)


def test_a_mask_answers_in_pixels_of_the_working_grid():
    mask = np.zeros((10, 20), bool)
    mask[2:4, 5:8] = True
    tissue = Tissue(mask, (32.0, 30.0))
    whole = tissue.pixels(Box(0, 0, 640, 300))
    assert whole.sum() == 2 * 3 * 32 * 30
    rng = np.random.default_rng(0)
    for part in (tissue, tissue.part(Box(100, 40, 300, 200))):
        for _ in range(50):
            x, y = rng.integers(110, 300), rng.integers(45, 180)
            box = Box(int(x), int(y), int(rng.integers(1, 60)), int(rng.integers(1, 50)))
            assert np.array_equal(part.pixels(box), whole[box.y : box.bottom, box.x : box.right])
            assert part.holds(np.array([[x + 0.5, y + 0.5]]))[0] == whole[y, x]
            if part.pixels(box).any():
                assert part.touches(box)
    assert not tissue.touches(Box(0, 0, 160, 300))
    assert tissue.touches(Box(159, 60, 2, 1))
    assert tissue.grown(10).mask.sum() == 16
    assert tissue.joined([Box(0, 0, 33, 1)]).mask.sum() == 8
    assert tissue.area_mm2(Mpp(0.25, 0.25)) == pytest.approx(6 * 32 * 30 * 0.0625e-6)


def test_everywhere_is_everywhere():
    grid = working_grid(Size(1000, 700), Mpp(0.25, 0.25), [1], 0.25)
    tissue = Tissue.everywhere(grid)
    assert tissue.area_mm2(grid.mpp) == pytest.approx(1000 * 700 * 0.0625e-6)
    assert tissue.pixels(Box(990, 690, 10, 10)).all()
    assert tissue.part(Box(500, 500, 100, 100)).touches(Box(500, 500, 1, 1))
    assert tissue.holds(np.array([[999.9, 699.9]])).all()
