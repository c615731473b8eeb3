import numpy as np
import pytest

from monch_monai.geometry import Mpp, Size, WorkingBox, working_grid
from monch_monai.slides import Tissue


def test_a_mask_is_read_in_working_pixels():
    mask = np.zeros((10, 20), bool)
    mask[2:4, 5:8] = True
    tissue = Tissue(mask, (32.0, 30.0))
    whole = tissue.pixels(WorkingBox(0, 0, 640, 300))
    assert whole.sum() == 2 * 3 * 32 * 30
    rng = np.random.default_rng(0)
    for part in (tissue, tissue.part(WorkingBox(100, 40, 300, 200))):
        for _ in range(50):
            x, y = rng.integers(110, 300), rng.integers(45, 180)
            box = WorkingBox(int(x), int(y), int(rng.integers(1, 60)), int(rng.integers(1, 50)))
            assert np.array_equal(part.pixels(box), whole[box.y : box.bottom, box.x : box.right])
            assert part.holds(np.array([[x + 0.5, y + 0.5]]))[0] == whole[y, x]
            if part.pixels(box).any():
                assert part.touches(box)
    assert not tissue.touches(WorkingBox(0, 0, 160, 300))
    assert tissue.touches(WorkingBox(159, 60, 2, 1))
    assert tissue.grown(10).mask.sum() == 16
    assert tissue.joined([WorkingBox(0, 0, 33, 1)]).mask.sum() == 8
    grid = working_grid(Size(640, 300), Mpp(0.25, 0.25))
    assert tissue.area_mm2(grid) == pytest.approx(6 * 32 * 30 * 0.0625e-6)


def test_everywhere_is_everywhere():
    grid = working_grid(Size(1000, 700), Mpp(0.25, 0.25))
    tissue = Tissue.everywhere(grid)
    assert tissue.area_mm2(grid) == pytest.approx(1000 * 700 * 0.0625e-6)
    assert tissue.pixels(WorkingBox(990, 690, 10, 10)).all()
    assert tissue.part(WorkingBox(500, 500, 100, 100)).touches(WorkingBox(500, 500, 1, 1))
    assert tissue.holds(np.array([[999.9, 699.9]])).all()
