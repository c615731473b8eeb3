import logging

import numpy as np
import pytest

from monch_monai.geometry import Mpp, Size, WorkingBox, working_grid
from monch_monai.slides import ImageSlide, Tissue, grid_of, tissue_and_lightening
from monch_monai.stain import TissueRule


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


def tissue_of(pixels, rule):
    slide = ImageSlide(pixels, 0.25, "field.tif")
    return tissue_and_lightening(slide, grid_of(slide), None, rule)[0].mask


@pytest.mark.parametrize("size", [(60, 100), (300, 300), (399, 399)])
@pytest.mark.parametrize("colour", [(243, 243, 243), (200, 120, 180)])
def test_a_slide_smaller_than_the_smallest_piece_is_all_tissue(size, colour, caplog):
    with caplog.at_level(logging.WARNING):
        assert tissue_of(np.full((*size, 3), colour, np.uint8), TissueRule()).all()
    assert not caplog.records


def test_a_slide_without_tissue_is_warned_of_with_what_to_try(caplog):
    glass = np.full((1200, 1600, 3), (244, 240, 243), np.uint8)
    for place in (200, 600, 1000):
        glass[place : place + 160, place : place + 160] = (150, 70, 150)  # crumbs of 0.0016 mm²
    with caplog.at_level(logging.WARNING):
        assert not tissue_of(glass, TissueRule()).any()
        assert tissue_of(glass, TissueRule(min_area_mm2=0.001)).any()
    (record,) = caplog.records
    expected = (
        "field.tif: no tissue found in 0.12 mm², so no nuclei (no pixel of a saturation above 0.1 in pieces of 0.01"
    )
    assert record.getMessage().startswith(expected)
    for advice in ("--tissue_threshold 0.02", "--tissue_min_area_mm2 0.001", "--tissue false"):
        assert advice in record.getMessage()


@pytest.mark.parametrize("value", [255, 200, 0])
def test_a_slide_without_colours_is_named_so(value, caplog):
    with caplog.at_level(logging.WARNING):
        assert not tissue_of(np.full((800, 800, 3), value, np.uint8), TissueRule()).any()
    (record,) = caplog.records
    assert "it has no colour, and MONCH needs H&E" in record.getMessage()


def test_pale_tissue_beside_dark_is_tissue_and_is_not_measured():
    overview = np.full((1600, 3200, 3), 243, np.uint8)
    overview[200:1400, 200:1400] = (150, 70, 150)
    dark_alone = overview.copy()
    overview[200:1400, 1800:3000] = (237, 225, 234)
    slides = [ImageSlide(pixels, 0.25) for pixels in (overview, dark_alone)]
    (both, factors), (dark, expected) = (
        tissue_and_lightening(slide, grid_of(slide), (0.3, 0.6, 0.3), TissueRule()) for slide in slides
    )
    assert both.mask[:, 60:90].any()
    assert not dark.mask[:, 60:90].any()
    assert factors == pytest.approx(expected)
