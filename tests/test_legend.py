import numpy as np
import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.legend import BAR_SHARE, bar_length, draw_nuclei, with_legend
from monch_monai.overlay import draw_contours
from tests.fakes.labels import some_classes
from tests.fakes.pictures import class_picture, picture


@pytest.mark.parametrize(
    ("width", "length"), [(8.25, 2), (80, 20), (79.9, 10), (160, 20), (200, 50), (4000, 1000), (0.9, 0.2), (0.04, 0.01)]
)
def test_a_scale_bar_is_the_longest_round_length_in_a_quarter_of_the_width(width, length):
    assert bar_length(width) == pytest.approx(length)
    assert bar_length(width) <= width * BAR_SHARE * (1 + 1e-6)


def strip(drawn, height):
    return drawn[height:].astype(int)


@pytest.mark.parametrize(("width", "mpp", "bar"), [(400, 0.25, 80), (400, 0.5, 100), (33, 0.25, 8), (32, 0.02, 5)])
def test_the_bar_in_the_strip_is_as_long_as_it_states(width, mpp, bar):
    tissue = np.full((64, width, 3), 200, np.uint8)
    rows = (strip(with_legend(tissue, PANNUKE, mpp), 64) == 0).all(axis=2)
    edges = [np.flatnonzero(np.diff(np.pad(row, 1).astype(int))) for row in rows[:20] if row.any()]
    assert bar in [right - left for left, right, *_ in edges]


@pytest.mark.parametrize("size", [(33, 33), (32, 400), (900, 40)])
@pytest.mark.parametrize("table", [PANNUKE, some_classes(12)], ids=lambda t: t.name)
def test_the_tissue_stays_as_it_is_whatever_its_size_and_all_classes_have_their_colours(size, table):
    tissue = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    drawn = with_legend(tissue, table, 0.25, list(range(len(table) - 1)))
    assert np.array_equal(drawn[: size[0], : size[1]], tissue)
    assert (drawn[: size[0], size[1] :] == 255).all()
    beneath = strip(drawn, size[0]).reshape(-1, 3)
    assert all((beneath == c.color).all(axis=1).sum() >= 50 for c in table.nuclei)


def test_text_grows_with_the_picture_and_counts_are_stated():
    small, large = (with_legend(np.zeros((side, side, 3), np.uint8), PANNUKE, 0.25) for side in (1200, 4800))
    assert len(large) - 4800 == pytest.approx(4 * (len(small) - 1200), abs=4)
    counted = with_legend(np.zeros((400, 900, 3), np.uint8), PANNUKE, 0.25, [1, 20, 0, 4, 1234])
    plain = with_legend(np.zeros((400, 900, 3), np.uint8), PANNUKE, 0.25)
    assert (counted != 255).sum() > (plain != 255).sum()


def test_a_contour_picture_is_the_contours_over_the_legend():
    colors = [c.color for c in PANNUKE.classes]
    drawn = draw_nuclei(picture(), class_picture(), PANNUKE, 0.25)
    assert np.array_equal(drawn[:40, :70], draw_contours(picture(), class_picture(), colors))
    assert np.array_equal(drawn, with_legend(draw_contours(picture(), class_picture(), colors), PANNUKE, 0.25))
