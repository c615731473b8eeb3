import numpy as np
import pytest

from monch_monai.errors import InputError
from monch_monai.stain import TissueRule, tissue_density
from monch_monai.stain.optical_density import ink

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


PENS = [(20, 120, 60), (170, 230, 190), (30, 60, 170), (160, 180, 235), (0, 160, 170)]
DARK_PENS = [(20, 20, 90), (45, 45, 48), (60, 58, 70), (20, 20, 20), (80, 80, 85), (70, 80, 75)]


@pytest.mark.parametrize("colour", PENS + DARK_PENS)
def test_ink_is_no_tissue_though_it_is_coloured(colour):
    drawn = picture()
    drawn[20:180, 100:140] = colour
    assert ink(drawn)[20:180, 100:140].all()
    assert not TissueRule()(drawn, UM2).any()
    drawn[50:150, 150:290] = (225, 180, 210)
    drawn[90:95, 200:280] = colour  # and over tissue it is not measured
    assert tissue_density(drawn) == pytest.approx(-np.log((np.array([225, 180, 210]) + 1) / 256), abs=1e-6)


@pytest.mark.parametrize("colour", [*PENS, *DARK_PENS, (60, 45, 40)])
@pytest.mark.parametrize("strength", [1.0, 0.7, 0.4])
def test_a_stroke_over_a_fifth_of_the_tissue_hardly_changes_its_density(colour, strength):
    rng = np.random.default_rng(0)
    tissue = picture((225, 180, 210)) * (0.35 + 0.65 * rng.random((200, 300, 1)))  # nuclei here, stroma there
    through = ((np.array(colour) + 1) / 256) ** strength
    drawn = tissue.copy()
    drawn[80:120] *= through
    drawn[[79, 120]] *= (1 + through) / 2
    clean, inked = (tissue_density(image.astype(np.uint8)) for image in (tissue, drawn))
    assert inked == pytest.approx(clean, rel=0.06)


@pytest.mark.parametrize("colour", [(120, 60, 140), (90, 80, 160), (230, 150, 190), (190, 60, 80), (60, 50, 90)])
def test_stained_tissue_and_blood_are_no_ink(colour):
    assert not ink(picture(colour)).any()


def test_a_field_of_a_tenth_of_a_millimetre_has_tissue():
    assert TissueRule()(picture((225, 180, 210), (4, 4)), UM2).all()
    assert not TissueRule()(picture(size=(4, 4)), UM2).any()


def test_small_pieces_at_the_corners_of_a_small_field_are_tissue():
    field = picture(size=(16, 21))
    field[:6, :6] = field[-6:, -6:] = (150, 90, 160)
    mask = TissueRule()(field, UM2)
    assert mask[:5, :5].all()
    assert mask[-5:, -5:].all()
    assert not mask[8, 10]


def noisy(image):
    return (image + np.random.default_rng(0).normal(0, 1.5, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("glass", [(243, 243, 243), (243, 240, 228), (250, 246, 240)])
def test_pale_tissue_is_found_beside_dark_and_glass_is_not(glass):
    ground = np.full((200, 300, 3), glass, float)
    dark, pale = np.array([150, 70, 150]) / 243, np.array([237, 225, 234]) / 243
    ground[20:110, 20:110] *= dark
    ground[20:110, 150:240] *= pale
    overview = noisy(ground)
    found, added = TissueRule()(overview, UM2), TissueRule().pale(overview, UM2)
    assert found[22:108, 22:108].all()
    assert not found[:, 140:].any(), "else this test is of nothing"
    assert added[20:110, 150:240].mean() > 0.9
    added[18:112, 148:242] = False
    assert not added.any()


@pytest.mark.parametrize("smear", [(236, 243, 238), (230, 233, 243), (243, 243, 230), (232, 232, 232), (243, 238, 241)])
def test_pale_pen_dust_and_uneven_light_are_no_pale_tissue(smear):
    rows, columns = np.mgrid[:200, :300, :1][:2]
    light = 1 - 1e-6 * ((rows - 100) ** 2 + (columns - 150) ** 2) * np.array([0.8, 1.0, 0.9])
    ground = picture().astype(float)
    ground[20:110, 20:110] = (150, 70, 150)
    ground[130:190, 150:290] = smear
    assert not TissueRule().pale(noisy(ground * light), UM2).any()


def test_without_dark_tissue_or_by_a_given_threshold_nothing_pale_is_added():
    overview = noisy(picture())
    assert not TissueRule().pale(overview, UM2).any()
    overview[20:110, 20:110] = (150, 70, 150)
    overview[20:110, 150:240] = (237, 225, 234)
    assert TissueRule().pale(overview, UM2).any()
    assert not TissueRule(threshold=0.08).pale(overview, UM2).any()
    assert not TissueRule().pale(picture((150, 70, 150)), UM2).any()
    assert not TissueRule().pale(picture((0, 0, 0)), UM2).any()
