"""Patients, tiles and whole fields, whatever the source."""

from dataclasses import replace

import numpy as np
import pytest

from monch_monai.data import Tile
from monch_monai.datasets.fields import STEP, Field, Labelled, edges, renumbered, training_tiles, whole_fields
from monch_monai.datasets.patients import hold_out, patient_of, tissue_of
from monch_monai.errors import InputError

NAMES = [f"TCGA-AA-{i:04d}" for i in range(200)]


def field(height, width, name="a"):
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    instances = np.arange(height * width).reshape(height, width) // 500 * 7
    labelled = Labelled(image, (instances > 0).astype(np.uint8), instances)
    return Field(name, name, "Lung", (), lambda: labelled, size=(height, width))


@pytest.mark.parametrize("length", [256, 257, 300, 442, 443, 700, 1000, 1001])
def test_tiles_cover_a_length_and_lie_at_most_a_step_apart(length):
    firsts = edges(length)
    assert (firsts[0], firsts[-1] + 256) == (0, length)
    assert max(np.diff(firsts), default=0) <= STEP
    assert len(edges(1000)) == 5


def test_what_is_less_than_a_tile_is_one():
    assert edges(33) == edges(255) == [0]


@pytest.mark.parametrize(("height", "width"), [(33, 86), (300, 40), (1000, 260)])
def test_training_tiles_show_their_place_in_the_field(height, width):
    made = training_tiles([field(height, width)])
    tiles = list(made.tiles(0))
    assert len(tiles) == made.count
    whole = field(height, width).read()
    for tile in tiles:
        x, y = (int(part[2:]) for part in tile.source.split()[1:])
        h, w = min(256, height), min(256, width)
        assert np.array_equal(tile.image[:h, :w], whole.image[y : y + h, x : x + w])
        assert np.array_equal(tile.classes[:h, :w], whole.classes[y : y + h, x : x + w])


def test_a_small_field_is_reflected_and_the_reflection_is_not_counted():
    (tile,) = training_tiles([field(33, 86)]).tiles(0)
    assert np.array_equal(tile.image[33:65, :86], tile.image[31::-1, :86][:32])
    assert np.unique(tile.classes[33:]).tolist() == np.unique(tile.classes[:, 86:]).tolist() == [255]
    assert not tile.instances[33:].any()


def test_an_interrupted_fold_continues_with_the_same_tiles():
    made = training_tiles([field(300, 300, "a"), field(40, 700, "b")])
    whole = list(made.tiles(0))
    for start in range(made.count):
        for one, other in zip(made.tiles(start), whole[start:], strict=True):
            assert one.source == other.source
            assert np.array_equal(one.image, other.image)


def test_whole_fields_are_sorted_by_the_side_of_their_squares():
    folds = whole_fields("validation", [field(100, 600, "a"), field(256, 256, "b"), field(257, 20, "c")])
    assert [(name, fold.count, fold.tile_size) for name, fold in folds.items()] == [
        ("validation_256", 1, 256),
        ("validation_512", 1, 512),
        ("validation_768", 1, 768),
    ]
    (tile,) = folds["validation_768"].tiles(0)
    whole = field(100, 600).read()
    assert np.array_equal(tile.image[:100, :600], whole.image)
    assert (tile.classes == 255).sum() == 768**2 - 100 * 600


def test_a_field_too_large_to_evaluate_is_refused():
    with pytest.raises(InputError, match="is of 5000x40 px at the network's resolution: cut it into fields of at most"):
        whole_fields("validation", [replace(field(40, 40), size=(40, 5000))])


@pytest.mark.parametrize("ids", [[[0, 7], [70000, 7]], [[5, 9], [9, 5]], [[0, 0], [0, 0]]])
def test_renumbering_keeps_which_pixels_belong_together(ids):
    ids = np.array(ids)
    made = renumbered(Tile(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), ids, "", "")).instances
    assert made.dtype == np.uint16
    assert np.array_equal(made == 0, ids == 0)
    assert np.array_equal(made.ravel() == made.ravel()[:, None], ids.ravel() == ids.ravel()[:, None])
    assert set(np.unique(made)) | {0} == set(range(made.max() + 1))


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592"),
        ("LGG_TCGA-DB-5270-R01_2", "TCGA-DB-5270"),
        ("tcga-18-5592_3", "TCGA-18-5592"),
        ("GBM40_01", "GBM40_01"),
    ],
)
def test_the_patient_is_tcga_s_or_else_the_field(name, patient):
    assert patient_of(name) == patient


def test_a_pattern_finds_the_patient():
    assert patient_of("p7_slide_3", "^[^_]+") == "p7"
    assert patient_of("p7_slide_3", r"slide_(\d)") == "3"


@pytest.mark.parametrize(("pattern", "said"), [("^x", "finds no patient in the field p7"), ("(", "no regular expr")])
def test_a_pattern_that_cannot_be_used_is_refused(pattern, said):
    with pytest.raises(InputError, match=said):
        patient_of("p7", pattern)


def test_tissues_are_those_of_tcga_s_sites():
    assert [tissue_of(name) for name in ("TCGA-G9-6336", "TCGA-2Z-A9JG", "TCGA-00-0000", "mine")] == [
        "Prostate", "Kidney", "unknown", "unknown",
    ]  # fmt: skip


def test_about_the_share_is_held_out_and_more_of_it_holds_out_more():
    by_field = {name: name for name in NAMES}
    some, more = hold_out(by_field, 0.2), hold_out(by_field, 0.4)
    assert some < more
    assert 25 < len(some) < 55


def test_a_patient_is_on_one_side_in_every_dataset():
    held_out = hold_out({name: name for name in NAMES}, 0.2)
    other = hold_out({name: name for name in NAMES[50:150]}, 0.2)
    assert other == held_out & set(NAMES[50:150])


@pytest.mark.parametrize("share", [1e-9, 0.5, 1 - 1e-9])
def test_of_two_patients_one_is_held_out(share):
    assert len(hold_out({"f": "a", "g": "b"}, share)) == 1


def test_named_patients_and_those_of_named_fields_are_held_out():
    by_field = {"a_1": "a", "a_2": "a", "b_1": "b", "1002": "1002"}
    assert hold_out(by_field, "a") == hold_out(by_field, ["a_2"]) == {"a"}
    assert hold_out(by_field, 1002) == {"1002"}


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (0, "give a share above 0 and below 1"),
        (1.0, "give a share above 0 and below 1"),
        (True, "give a share above 0 and below 1"),
        (None, "give a share above 0 and below 1"),
        (float("nan"), "give a share above 0 and below 1"),
        ("c", "names 'c', no patient and no field"),
        (["a", "b"], "holds out 2 of 2 patients"),
        ([], "holds out 0 of 2 patients"),
    ],
)
def test_what_splits_nothing_is_refused(validation, said):
    with pytest.raises(InputError, match=said):
        hold_out({"a_1": "a", "b_1": "b"}, validation)


def test_one_patient_cannot_be_split():
    with pytest.raises(InputError, match="holds out 0 of 1 patients: hold out at least one"):
        hold_out({"a_1": "a"}, 0.2)
