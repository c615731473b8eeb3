import numpy as np
import pytest

from monch_monai.classes import CLASSES, NUCLEUS_CLASSES
from monch_monai.overlay import draw_contours

GREY = (128, 130, 132)


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


@pytest.mark.parametrize("nucleus", NUCLEUS_CLASSES, ids=lambda c: c.name)
def test_an_outline_lies_inside_the_region_in_the_colour_of_its_class(nucleus):
    drawn = draw_contours(image(), square(nucleus.index))
    assert (drawn[ring(2)] == nucleus.color).all()
    assert (drawn[~ring(2)] == GREY).all()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_outline_is_as_wide_as_asked_for(width):
    drawn = draw_contours(image(), square(1), width=width)
    assert np.array_equal((drawn != GREY).any(axis=-1), ring(width))


def test_nothing_is_drawn_on_an_empty_class_map():
    assert np.array_equal(draw_contours(image(), square(0)), image())


def test_the_edge_of_the_picture_is_no_outline():
    assert np.array_equal(draw_contours(image(), np.full((30, 40), 3, dtype=np.uint8)), image())


def test_touching_regions_of_two_classes_keep_an_outline_between_them():
    classes = np.full((30, 40), 1, dtype=np.uint8)
    classes[:, 20:] = 5
    drawn = draw_contours(image(), classes)
    assert (drawn[:, 18:20] == CLASSES[1].color).all()
    assert (drawn[:, 20:22] == CLASSES[5].color).all()
    assert (drawn[:, :18] == GREY).all()
    assert (drawn[:, 22:] == GREY).all()


def test_the_image_is_left_as_it_was():
    original = image()
    drawn = draw_contours(original, square(2))
    assert np.array_equal(original, image())
    assert drawn.dtype == np.uint8
