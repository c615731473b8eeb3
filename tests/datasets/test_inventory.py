import numpy as np
import pytest

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data import Tile
from monch_monai.datasets.inventory import ENOUGH, take_inventory
from monch_monai.errors import InputError

SIZE = 128
PINK, BLUE = (230, 180, 200), (80, 60, 150)


def tile(tissue="Colon", rows=(), nuclei_color=BLUE, ground_color=PINK, shade=0, **remarks):
    """A tile with nuclei `(class, height)`, each of so many whole rows, one below the other."""
    classes, instances = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint16)
    image = np.full((SIZE, SIZE, 3), ground_color, np.uint8)
    top = 0
    for number, (index, height) in enumerate(rows, start=1):
        here = slice(top, top + height)
        classes[here], instances[here], image[here] = index, number, nuclei_color
        top += height
    image[-1, -1, 1] = shade
    return Tile(image, classes, instances, tissue, "made", remarks)


def counted(**folds):
    return take_inventory(folds, {name: len(tiles) for name, tiles in folds.items()}, Vocabulary.of_table(PANNUKE))


def by_kind(**values):
    return [values.get(kind, 0) for kind in [*PANNUKE.names, "ignored"]]


HALF = [(1, SIZE // 2)]
"""One nucleus over half of the tile: enough to judge colours by."""


@pytest.fixture
def inventory():
    return counted(
        a=[tile("Colon", [(1, 2), (1, 1), (4, 3)], torn=2), tile("Liver", [(255, 5)], shade=1, torn=1)],
        b=[tile("Colon", [(5, 1), (1, 4)], shade=2), tile("Colon", shade=3)],
    )


def test_nuclei_and_pixels_are_counted_by_fold(inventory):
    tiles, nuclei, pixels = inventory.of_fold("a")
    assert tiles == 2
    assert nuclei.tolist() == by_kind(neoplastic=2, dead=1, ignored=1)
    background = 2 * SIZE * SIZE - 11 * SIZE
    assert pixels.tolist() == by_kind(background=background, neoplastic=3 * SIZE, dead=3 * SIZE, ignored=5 * SIZE)


def test_nuclei_and_pixels_are_counted_by_tissue(inventory):
    tiles, nuclei, pixels = inventory.of_tissue("Colon")
    assert tiles == 3
    assert nuclei.tolist() == by_kind(neoplastic=3, dead=1, epithelial=1)
    background = 3 * SIZE * SIZE - 11 * SIZE
    assert pixels.tolist() == by_kind(background=background, neoplastic=7 * SIZE, dead=3 * SIZE, epithelial=SIZE)


def test_counts_by_fold_and_by_tissue_have_the_same_sum(inventory):
    by_fold = sum(inventory.of_fold(fold)[1] for fold in inventory.folds)
    by_tissue = sum(inventory.of_tissue(tissue)[1] for tissue in inventory.tissues)
    assert by_fold.tolist() == by_tissue.tolist()


def test_folds_are_in_the_order_given_and_tissues_sorted():
    inventory = counted(z=[tile("Uterus")], a=[tile("Breast")])
    assert (inventory.folds, inventory.tissues) == (["z", "a"], ["Breast", "Uterus"])


def test_tiles_without_nuclei_are_counted(inventory):
    assert (inventory.empty["a"], inventory.empty["b"]) == (0, 1)


def test_remarks_are_added_up_by_fold(inventory):
    assert (inventory.remarks["a"], inventory.remarks["b"]) == ({"torn": 3}, {})


def test_what_is_not_there_counts_nothing(inventory):
    tiles, nuclei, pixels = inventory.of_fold("absent")
    assert (tiles, nuclei.sum(), pixels.sum()) == (0, 0, 0)


def test_stain_contrast_is_how_much_bluer_nuclei_are():
    expected = (BLUE[2] - BLUE[0]) - (PINK[2] - PINK[0])
    assert counted(a=[tile(rows=HALF)]).stain_contrast("a") == expected


def test_swapped_colour_channels_turn_the_contrast_round():
    swapped = tile(rows=HALF, nuclei_color=BLUE[::-1], ground_color=PINK[::-1])
    assert counted(a=[swapped]).stain_contrast("a") == -counted(a=[tile(rows=HALF)]).stain_contrast("a")


def test_contrast_is_of_all_tiles_of_the_fold_and_of_no_other():
    plain = tile(rows=HALF, nuclei_color=(100, 0, 100), ground_color=(100, 0, 90))
    inventory = counted(a=[tile(rows=HALF), plain], b=[plain])
    assert inventory.stain_contrast("a") == (100 + 10) / 2
    assert inventory.stain_contrast("b") == 10


def test_pixels_that_are_not_counted_have_no_say_in_the_contrast():
    odd = tile(rows=[(1, SIZE // 2), (255, 20)])
    odd.image[SIZE // 2 : SIZE // 2 + 20] = (255, 0, 0)
    assert counted(a=[odd]).stain_contrast("a") == counted(a=[tile(rows=HALF)]).stain_contrast("a")


@pytest.mark.parametrize("rows", [ENOUGH // SIZE, SIZE - ENOUGH // SIZE], ids=["nuclei", "surroundings"])
def test_too_little_to_judge_gives_no_contrast_and_no_error(rows):
    inventory = counted(a=[tile(rows=[(1, rows)], nuclei_color=BLUE[::-1])])
    assert np.isnan(inventory.stain_contrast("a"))
    inventory.check_colors()


def test_the_fold_whose_colours_are_swapped_is_refused_by_name():
    swapped = tile(rows=HALF, nuclei_color=BLUE[::-1], ground_color=PINK[::-1])
    with pytest.raises(InputError, match=r"^second: nuclei are redder .*\(blue minus red: -100\.0\).* look BGR"):
        counted(first=[tile(rows=HALF)], second=[swapped]).check_colors()


def test_right_colours_pass():
    counted(a=[tile(rows=HALF)]).check_colors()


def test_the_same_image_is_found_within_and_across_folds():
    inventory = counted(a=[tile("Colon"), tile("Liver", shade=1), tile("Liver")], b=[tile(shade=1), tile(shade=2)])
    assert inventory.duplicates() == [["a#0", "a#2"], ["a#1", "b#0"]]


def test_the_same_image_with_other_labels_is_the_same_image():
    one = tile(rows=[(1, 3)])
    other = one._replace(classes=np.zeros_like(one.classes), instances=np.zeros_like(one.instances))
    assert counted(a=[one], b=[other]).duplicates() == [["a#0", "b#0"]]


def test_a_single_other_value_makes_another_image():
    assert counted(a=[tile(), tile(shade=1)]).duplicates() == []


def test_findings_have_a_line_each():
    inventory = counted(
        a=[tile(rows=HALF, overlap_pixels=1200, small_nuclei=0), tile(shade=1)],
        b=[tile(shade=2), tile(shade=1), tile(shade=2)],
    )
    assert inventory.findings() == [
        "a: 2 tiles, 1 nuclei, 1 tiles without any",
        "a: 1,200 overlap pixels",
        "a: stain contrast +100.0 (positive in RGB)",
        "b: 3 tiles, 0 nuclei, 3 tiles without any",
        "b: stain contrast not measured: too few pixels",
        "images that occur more than once: 2, in more than one fold: 1",
        "the same image: a#1, b#1",
    ]
