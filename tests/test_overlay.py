from functools import partial

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from monch_monai.class_table import PANNUKE
from monch_monai.overlay import LEAST_CONTRAST, MISTAKES, contrast, draw_contours, draw_mistakes, halo_color
from tests.fakes.labels import SEVERAL, some_classes

GREY = (128, 130, 132)
COLORS = [c.color for c in PANNUKE.classes]
draw_lines_alone = partial(draw_contours, halo=0)


def image(height=30, width=40):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def square(index, height=30, width=40):
    classes = np.zeros((height, width), dtype=np.uint8)
    classes[5:20, 10:30] = index
    return classes


def ring(width):
    """The outer `width` pixels of the square."""
    inside = np.zeros((30, 40), dtype=bool)
    inside[5:20, 10:30] = True
    inside[5 + width : 20 - width, 10 + width : 30 - width] = False
    return inside


@pytest.mark.parametrize("nucleus", PANNUKE.nuclei, ids=lambda c: c.name)
def test_an_outline_lies_inside_the_region_in_the_colour_of_its_class(nucleus):
    drawn = draw_lines_alone(image(), square(nucleus.index), COLORS)
    assert (drawn[ring(2)] == nucleus.color).all()
    assert (drawn[~ring(2)] == GREY).all()


@pytest.mark.parametrize(("colors", "value"), [(SEVERAL.colors, 6), ([c.color for c in some_classes(3).classes], 2)])
def test_labels_of_several_classes_and_of_other_tables_have_their_colours(colors, value):
    drawn = draw_lines_alone(image(), square(value), colors)
    assert (drawn[ring(2)] == colors[value]).all()
    assert (drawn[~ring(2)] == GREY).all()


@pytest.mark.parametrize("value", [6, 255])
def test_values_without_a_colour_are_not_drawn(value):
    assert np.array_equal(draw_lines_alone(image(), square(value), COLORS), image())


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_outline_is_as_wide_as_asked_for(width):
    drawn = draw_lines_alone(image(), square(1), COLORS, width=width)
    assert np.array_equal((drawn != GREY).any(axis=-1), ring(width))


def test_nothing_is_drawn_on_an_empty_class_map():
    assert np.array_equal(draw_lines_alone(image(), square(0), COLORS), image())


def test_the_edge_of_the_picture_is_no_outline():
    assert np.array_equal(draw_lines_alone(image(), np.full((30, 40), 3, dtype=np.uint8), COLORS), image())


def test_touching_regions_of_two_classes_keep_an_outline_between_them():
    classes = np.full((30, 40), 1, dtype=np.uint8)
    classes[:, 20:] = 5
    drawn = draw_lines_alone(image(), classes, COLORS)
    assert (drawn[:, 18:20] == PANNUKE.classes[1].color).all()
    assert (drawn[:, 20:22] == PANNUKE.classes[5].color).all()
    assert (drawn[:, :18] == GREY).all()
    assert (drawn[:, 22:] == GREY).all()


def test_the_image_is_left_as_it_was():
    original = image()
    drawn = draw_lines_alone(original, square(2), COLORS)
    assert np.array_equal(original, image())
    assert drawn.dtype == np.uint8


PALE = 128 + 130 // 2  # the mean of GREY, halved


def test_each_kind_of_mistake_has_its_colour():
    truth, predicted = square(1), square(1)
    truth[0, :3], predicted[0, :3] = 2, 0
    truth[1, :3], predicted[1, :3] = 0, 2
    truth[2, :3], predicted[2, :3] = 3, 4
    drawn = draw_mistakes(image(), truth, predicted)
    for row, kind in enumerate(("missed", "not there", "of another class")):
        assert (drawn[row, :3] == MISTAKES[kind]).all()
    assert (drawn[:3, 3:] == PALE).all()
    assert (drawn[3:] == PALE).all()


def test_the_colours_of_mistakes_are_no_classes_and_no_grey():
    colors = [*MISTAKES.values(), *(c.color for c in PANNUKE.classes)]
    assert len(set(colors)) == len(colors)
    assert all(len(set(color)) > 1 for color in MISTAKES.values())


def test_ignored_pixels_are_no_mistakes():
    truth = np.full((30, 40), 255, dtype=np.uint8)
    assert (draw_mistakes(image(), truth, square(3)) == PALE).all()


def test_under_mistakes_the_image_is_pale_grey():
    picture = image()
    picture[:10], picture[10:20], picture[20:] = 0, 255, (30, 60, 90)
    drawn = draw_mistakes(picture, square(1), square(1))
    assert [np.unique(drawn[rows]).tolist() for rows in (slice(10), slice(10, 20), slice(20, 30))] == [
        [128], [255], [158],
    ]  # fmt: skip
    assert drawn.dtype == np.uint8
    assert picture[25, 5].tolist() == [30, 60, 90]


def test_touching_nuclei_of_one_class_are_told_apart_by_their_ids():
    classes = square(1)
    ids = np.where(np.arange(40) < 20, classes, 2 * classes)
    drawn = draw_lines_alone(image(), classes, COLORS, width=1, instance_map=ids)
    red = (drawn == PANNUKE.nuclei[0].color).all(axis=2)
    assert red[12, [10, 19, 20, 29]].all()
    assert not red[12, [15, 25]].any()
    together = draw_lines_alone(image(), classes, COLORS, width=1)
    assert not (together[12, 19:21] == PANNUKE.nuclei[0].color).all(axis=1).any()


def test_black_and_white_contrast_by_21_and_a_colour_with_itself_by_1():
    assert contrast((0, 0, 0), (255, 255, 255)) == contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert contrast((9, 80, 200), (9, 80, 200)) == 1
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)  # WCAG's well-known grey


def test_every_colour_that_a_table_can_have_contrasts_with_its_halo():
    steps = range(0, 256, 15)
    least = min(contrast(c, halo_color(c)) for c in ((r, g, b) for r in steps for g in steps for b in steps))
    assert least >= LEAST_CONTRAST


HAEMATOXYLIN = [(45, 25, 85), (85, 65, 130), (120, 95, 160)]
EOSIN = [(190, 90, 130), (225, 150, 185), (240, 200, 215)]


@pytest.mark.parametrize("stain", [*HAEMATOXYLIN, *EOSIN], ids=str)
@pytest.mark.parametrize("color", [*COLORS[1:], (30, 0, 90), (120, 95, 160), (240, 200, 215)], ids=str)
def test_a_line_or_its_halo_differs_from_every_stain(color, stain):
    lab = [rgb2lab(np.array(c, float).reshape(1, 1, 3) / 255) for c in (color, halo_color(color), stain)]
    line, halo = (float(deltaE_ciede2000(one, lab[2])[0, 0]) for one in lab[:2])
    assert max(line, halo) > 15
    assert max(contrast(c, stain) for c in (color, halo_color(color))) > 1.7


def test_blue_alone_can_hardly_be_seen_on_dark_nuclei_and_its_halo_can():
    blue = PANNUKE.classes[3].color
    assert contrast(blue, HAEMATOXYLIN[1]) < 1.5
    assert halo_color(blue) == (255, 255, 255)
    assert contrast(halo_color(blue), HAEMATOXYLIN[1]) > 7


@pytest.mark.parametrize("nucleus", PANNUKE.nuclei, ids=lambda c: c.name)
def test_a_halo_lies_on_both_sides_of_the_line_and_no_further(nucleus):
    drawn = draw_contours(image(), square(nucleus.index), COLORS)
    assert (drawn[ring(2)] == nucleus.color).all()
    around = np.zeros((30, 40), bool)
    around[4:21, 9:31] = True
    around &= ~ring(3) & (square(1) == 0) | ring(3) & ~ring(2)
    assert (drawn[around] == halo_color(nucleus.color)).all()
    assert (drawn[~around & ~ring(2)] == GREY).all()
