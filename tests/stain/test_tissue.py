import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.stain import TissueRule

UM2 = 64.0  # of a pixel at 8 µm


def picture(ground=(243, 243, 243), size=(200, 300)):
    return np.full((*size, 3), ground, np.uint8)


def test_tissue_is_what_is_stained():
    small = picture()
    small[50:150, 60:200] = (225, 180, 210)
    small[60:64, 70:74] = 243  # a gap within
    small[180:190, 10:290] = 10  # the scan's black edge
    small[5, 5] = (90, 30, 120)  # dust
    mask = TissueRule()(small, UM2)
    truth = np.zeros(mask.shape, bool)
    truth[50:150, 60:200] = True
    assert (mask ^ truth).sum() <= 4 * 240  # its edge, a pixel wide
    assert not mask[:40].any()
    assert not mask[170:].any()


def test_glass_alone_has_none_and_tissue_alone_is_all():
    noise = np.random.default_rng(0).integers(-3, 4, (200, 300, 3))
    assert not TissueRule()((picture() + noise).astype(np.uint8), UM2).any()
    assert TissueRule()((picture((225, 180, 210)) + noise).astype(np.uint8), UM2).all()
    assert not TissueRule()(picture(), UM2).any()


def test_threshold_and_smallest_piece_can_be_set():
    pale = picture()
    pale[50:60, 50:60] = (236, 232, 236)  # 6400 µm², saturation 0.017
    assert not TissueRule(min_area_mm2=0)(pale, UM2).any()
    assert TissueRule(0.01, 0)(pale, UM2).any()
    assert not TissueRule(0.01, 0.1)(pale, UM2).any()
    for settings in ({"threshold": 2}, {"threshold": "Otsu"}, {"min_area_mm2": -1}):
        with pytest.raises(InputError):
            TissueRule(**settings)
