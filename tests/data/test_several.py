"""Several datasets as one, in one class table, and how an epoch is shared among them."""

from collections import Counter

import numpy as np
import pytest
import torch

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data import (
    ClassMapReader,
    Fold,
    RankTileSampler,
    SeveralTiles,
    Tile,
    TileLabels,
    Tiles,
    tile_sampler,
    write_tiles,
)
from monch_monai.errors import InputError
from tests.fakes.labels import some_classes

SIZE = 8
SPLITS = {"1": {"train": ["one"], "validation": ["two"]}}
OWN = Vocabulary.of_nuclei(PANNUKE, {"epithelium": ["neoplastic", "epithelial"], "cell": None, "dead": ["dead"]})
"""Values 1, 2 and 3 of a dataset: among PanNuke's classes 1 or 5, any, and 4."""


def made_tile(*values, tissue="Colon"):
    """A tile with a nucleus of a whole row of each value, from the top."""
    classes, instances = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint16)
    for row, value in enumerate(values):
        classes[row], instances[row] = value, row + 1
    return Tile(np.zeros((SIZE, SIZE, 3), np.uint8), classes, instances, tissue, "made")


def write(folder, one, two, vocabulary, splits=SPLITS):
    folds = {name: Fold(len(t), lambda s, t=t: t[s:], SIZE) for name, t in (("one", one), ("two", two))}
    write_tiles(folder, folds, splits, vocabulary=vocabulary)
    return Tiles(folder)


@pytest.fixture(scope="module")
def pannuke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "pannuke"
    one = [made_tile(1, 2), made_tile(3), made_tile(), made_tile(1, 255)]
    return write(folder, one, [made_tile(5)], Vocabulary.of_table(PANNUKE))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "own"
    return write(folder, [made_tile(1, 2, tissue="Skin"), made_tile(3, 3)], [made_tile(2), made_tile()], OWN)


@pytest.fixture(scope="module")
def both(pannuke, own):
    return SeveralTiles([pannuke, own])


def value_of(labels, *members):
    return labels.sets.value_of(members)


def test_folds_are_named_by_their_dataset(both):
    assert both.folds == {"pannuke/one": 4, "pannuke/two": 1, "own/one": 2, "own/two": 2}


def test_a_part_of_a_split_is_that_of_every_dataset(both):
    assert both.split(1, "train") == ["pannuke/one", "own/one"]
    assert both.split(1, "validation") == both.split(1, "test") == ["pannuke/two", "own/two"]


def test_a_split_that_one_dataset_lacks_is_refused_by_its_name(pannuke, tmp_path):
    other = write(tmp_path / "other", [made_tile()], [made_tile()], OWN, {"2": SPLITS["1"]})
    with pytest.raises(InputError, match=r"split 1 is not one of .*other: 2"):
        SeveralTiles([pannuke, other]).split(1, "train")


def test_items_and_rows_keep_the_order_of_the_folds_and_their_dataset(both, pannuke, own):
    folds = ["own/two", "pannuke/one", "own/one"]
    items = both.items(folds)
    assert [item["dataset"] for item in items] == ["own"] * 2 + ["pannuke"] * 4 + ["own"] * 2
    assert items == [*own.items(["two"]), *pannuke.items(["one"]), *own.items(["one"])]
    assert both.rows(folds) == [*own.rows(["two"]), *pannuke.rows(["one"]), *own.rows(["one"])]


def test_the_classes_are_those_of_the_first_dataset(both, pannuke, tmp_path):
    other = write(tmp_path / "other", [made_tile(1)], [made_tile()], Vocabulary.of_table(some_classes(4)))
    assert both.class_table == PANNUKE
    assert SeveralTiles([other, pannuke]).class_table == some_classes(4)


def test_the_fingerprint_is_of_all_datasets_in_order(both, pannuke, own):
    prints = [SeveralTiles(datasets).fingerprint for datasets in ([pannuke, own], [own, pannuke], [own])]
    assert prints[0] == both.fingerprint
    assert len({*prints, pannuke.fingerprint, own.fingerprint}) == 5
    assert len(prints[0]) == 64


def test_two_folders_of_one_name_are_refused(own, tmp_path):
    namesake = write(tmp_path / "own", [made_tile()], [made_tile()], OWN)
    with pytest.raises(InputError, match=r"^dataset_dir has two folders of one name in .*: rename one$"):
        SeveralTiles([own, namesake])


def test_the_same_tiles_twice_are_refused_under_any_name(own, pannuke, tmp_path):
    (tmp_path / "another").symlink_to(own.dir)
    for datasets in ([own, own], [own, pannuke, Tiles(tmp_path / "another")]):
        with pytest.raises(InputError, match=r"^dataset_dir names the same tiles twice, .*own and .*: leave one out$"):
            SeveralTiles(datasets)


def test_no_dataset_is_refused():
    with pytest.raises(InputError, match="dataset_dir is an empty list; give at least one folder"):
        SeveralTiles([])


def test_one_dataset_has_the_interface_of_several(own):
    assert (own.datasets, own.parts(["two", "one"])) == ([own], [(own, ["two", "one"])])


def test_values_of_each_dataset_are_looked_up_in_the_networks_classes(both, pannuke, own):
    labels = TileLabels(both, PANNUKE)
    assert labels.sets.names == [*PANNUKE.names, "neoplastic or epithelial", "any nucleus"]
    of_pannuke = labels.lookup(pannuke.items(["one"])[0]["label"])
    assert of_pannuke.tolist() == [*range(6), *[255] * 250]
    of_own = labels.lookup(own.items(["two"])[1]["label"])
    assert of_own.tolist() == [0, value_of(labels, 1, 5), value_of(labels, 1, 2, 3, 4, 5), 4, *[255] * 252]
    assert (of_pannuke.dtype, of_own.dtype) == (np.uint8, np.uint8)


def test_classes_of_another_table_that_are_of_no_known_kind_stand_for_any_nucleus(both, own):
    labels = TileLabels(both, some_classes(4))
    assert labels.sets.names == ["background", "class 1", "class 2", "class 3", "any nucleus"]
    assert labels.lookup(own.items(["one"])[0]["label"])[:5].tolist() == [0, 4, 4, 4, 255]


def test_class_maps_are_read_as_values_of_all_datasets(both):
    labels = TileLabels(both, PANNUKE)
    reader = ClassMapReader(labels)
    read = [
        reader.get_data(reader.read(item["label"]))[0][:, 0].tolist() for item in both.items(both.split(1, "train"))
    ]
    epithelium, cell = value_of(labels, 1, 5), value_of(labels, 1, 2, 3, 4, 5)
    expected = [[1, 2], [3], [], [1, 255], [epithelium, cell], [4, 4]]
    assert read == [[*values, *[0] * (SIZE - len(values))] for values in expected]


def test_a_value_that_is_a_label_of_the_other_dataset_alone_is_refused(pannuke, tmp_path):
    other = write(tmp_path / "other", [made_tile(1)], [made_tile()], OWN)
    labels = TileLabels(SeveralTiles([pannuke, other]), PANNUKE)
    damaged = np.load(other.dir / "one" / "classes.npy")
    damaged[0, 3, 3] = 5
    np.save(other.dir / "one" / "classes.npy", damaged)
    with pytest.raises(InputError, match=r"one/classes\.npy#0 holds 5; its class map holds 0 to 3 and 255"):
        ClassMapReader(labels).get_data([other.items(["one"])[0]["label"]])


def test_a_row_says_which_values_the_nuclei_of_its_tile_have(both, pannuke, own):
    labels = TileLabels(both, PANNUKE)
    found = [labels.of_row(row, own) for row in own.rows(["one"])]
    assert [np.flatnonzero(each).tolist() for each in found] == [[6, 7], [4]]
    found = [labels.of_row(row, pannuke) for row in pannuke.rows(["one"])]
    assert [np.flatnonzero(each).tolist() for each in found] == [[1, 2], [3], [], [1]]


def test_pixels_of_several_classes_are_divided_among_them(both):
    shares = TileLabels(both, PANNUKE).class_shares(both, both.split(1, "train"))
    rows = np.array([0, 2 + 1 / 2 + 1 / 5, 1 + 1 / 5, 1 + 1 / 5, 2 + 1 / 5, 1 / 2 + 1 / 5])  # of 8 pixels
    rows[0] = 6 * SIZE - 8 - 1  # eight rows of nuclei, one of ignored pixels
    assert shares == pytest.approx(rows / (6 * SIZE - 1))
    assert sum(shares) == pytest.approx(1)
    known = TileLabels(both, PANNUKE).class_shares(both, both.split(1, "train"), known_alone=True)
    rows = np.array([rows[0], 2, 1, 1, 2, 0])
    assert known == pytest.approx(rows / rows.sum())


def test_shares_follow_the_folds_and_those_of_nothing_are_zero(both, tmp_path):
    labels = TileLabels(both, PANNUKE)
    assert labels.class_shares(both, ["pannuke/two"]) == pytest.approx([7 / 8, 0, 0, 0, 0, 1 / 8])
    ignored = write(tmp_path / "ignored", [made_tile(*[255] * SIZE)], [made_tile()], Vocabulary.of_table(PANNUKE))
    assert TileLabels(ignored, PANNUKE).class_shares(ignored, ["one"]) == [0] * 6


def drawn(tiles, weights, strength=0.0, epochs=300):
    """How often each training tile is drawn in an epoch, on average."""
    torch.manual_seed(0)
    sampler = tile_sampler(tiles, tiles.split(1, "train"), strength, TileLabels(tiles, PANNUKE), weights)
    counts = Counter(i for _ in range(epochs) for i in sampler)
    return np.array([counts[i] / epochs for i in range(len(sampler))])


@pytest.mark.parametrize("strength", [0, 0.5, 1])
@pytest.mark.parametrize("weights", [[1, 1], [1, 3], (0.2, 0.1)])
def test_datasets_have_their_share_of_an_epoch_whatever_the_strength(both, weights, strength):
    found = drawn(both, weights, strength)
    assert found.sum() == pytest.approx(6)
    assert found[4:].sum() / 6 == pytest.approx(weights[1] / sum(weights), abs=0.04)


def test_within_a_dataset_tiles_are_drawn_alike_or_by_the_strength(both):
    assert drawn(both, [1, 1]) == pytest.approx([3 / 4] * 4 + [3 / 2] * 2, abs=0.15)
    by_class = drawn(both, [1, 1], strength=1)
    assert by_class[0] > by_class[3]  # the first tile alone has inflammatory nuclei


def test_without_weights_datasets_are_drawn_by_their_tiles(both):
    assert drawn(both, None, epochs=5).tolist() == [1] * 6


def test_processes_draw_the_shares_of_one(both):
    labels, folds, counts = TileLabels(both, PANNUKE), both.split(1, "train"), Counter()
    samplers = [RankTileSampler(both, folds, 0, labels, [1, 5], seed=3, num_replicas=2, rank=r) for r in range(2)]
    for epoch in range(400):
        for sampler in samplers:
            sampler.set_epoch(epoch)
            counts.update(sampler)
    assert (counts[4] + counts[5]) / counts.total() == pytest.approx(5 / 6, abs=0.04)


def test_weights_that_are_not_one_positive_number_a_dataset_are_refused(both, own):
    labels = TileLabels(both, PANNUKE)
    for wrong in ([1], [1, 2, 3], [], [1, 0], [1, -1], [1, float("inf")], [1, float("nan")], [1, True], [1, "2"], 2):
        with pytest.raises(
            InputError, match=r"dataset_weights is .*; give 2 numbers above 0, one for each of dataset_"
        ):
            tile_sampler(both, both.split(1, "train"), 0, labels, wrong)
    with pytest.raises(InputError, match="give 1 numbers above 0"):
        tile_sampler(own, ["one"], 0, TileLabels(own, PANNUKE), [1, 2])


def test_the_log_names_values_of_several_classes(both, caplog):
    caplog.set_level("INFO")
    drawn(both, [1, 1], epochs=1)
    assert "sampling strength 0: tiles with neoplastic or epithelial 16.7 %, drawn 25.0 %" in caplog.messages
