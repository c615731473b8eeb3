import json
import shutil

import numpy as np
import pytest

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data import Tile, TileLabels, Tiles
from monch_monai.data.tiles import count_tile, read_tiles
from monch_monai.errors import InputError
from tests.fakes.labels import some_classes
from tests.fakes.tiny import SEEDS, SIZE, fold_of, tile, write


def edit(folder, **changes):
    """Changes the manifest; None takes a key out."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))


def refusal(folder):
    with pytest.raises(InputError) as caught:
        Tiles(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "dataset")


def test_tiles_come_back_exactly_and_memory_mapped(dataset):
    for fold, seeds in SEEDS.items():
        for name, field in (("images", "image"), ("classes", "classes"), ("instances", "instances")):
            array = np.load(dataset / fold / f"{name}.npy", mmap_mode="r")
            assert isinstance(array, np.memmap)
            expected = np.stack([getattr(tile(seed), field) for seed in seeds])
            assert array.dtype == expected.dtype
            assert np.array_equal(array, expected)


def test_items_refer_to_the_tiles_in_order(dataset):
    items = Tiles(dataset).items(["b", "a"])
    assert [item["tissue"] for item in items] == ["tissue 10", "tissue 11", "tissue 12", "tissue 0", "tissue 1"]
    assert items[4] == {
        "image": f"{dataset}/a/images.npy#1",
        "label": f"{dataset}/a/classes.npy#1",
        "instances": f"{dataset}/a/instances.npy#1",
        "tissue": "tissue 1",
        "source": 'slide 1, "left", µ',
        "dataset": "dataset",
    }


def test_the_manifest_says_what_the_dataset_is(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["name"]) == ("monch-tiles", 3, "two folds")
    assert manifest["mpp"] == 0.25
    assert Vocabulary.from_dict(manifest["vocabulary"]) == Vocabulary.of_table(PANNUKE) == Tiles(dataset).vocabulary
    sizes = {fold: (entry["tiles"], entry["tile_size"]) for fold, entry in manifest["folds"].items()}
    assert sizes == {"a": (2, SIZE), "b": (3, SIZE)}
    assert Tiles(dataset).folds == {"a": 2, "b": 3}


def test_the_fingerprint_follows_the_contents(dataset, tmp_path):
    again = write(tmp_path / "again")
    other = write(tmp_path / "other", folds={"a": fold_of([0, 2]), "b": fold_of(SEEDS["b"])})
    prints = [Tiles(folder).fingerprint for folder in (dataset, again, other)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]
    assert len(prints[0]) == 64


def test_parts_of_a_split_are_its_folds(dataset):
    tiles = Tiles(dataset)
    assert (tiles.split("1", "train"), tiles.split(1, "validation")) == (["a"], ["b"])
    assert tiles.split(2, "test") == ["a", "b"]


def test_a_split_without_a_test_part_is_tested_on_its_validation_part(dataset):
    assert Tiles(dataset).split(1, "test") == ["b"]


def test_a_split_without_a_test_part_says_once_that_it_is_tested_on_validation(dataset, caplog):
    tiles = Tiles(dataset)
    tiles.split(1, "test")
    tiles.split(1, "test")
    assert [record.getMessage() for record in caplog.records] == [
        f"split 1 of {dataset} has no test part: its validation part is scored"
    ]


def test_labels_that_are_not_exhaustive_are_warned_of_once(dataset, caplog):
    edit(dataset, labels="by hand, not exhaustive: some nuclei have none")
    tiles = Tiles(dataset)
    for part in ("train", "validation", "train"):
        tiles.split(1, part)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"labels of {dataset} are not exhaustive: scores on it hardly count nuclei")


def test_a_part_of_another_name_is_refused(dataset):
    with pytest.raises(InputError, match="part 'val' is none of train, validation, test"):
        Tiles(dataset).split(1, "val")


@pytest.mark.parametrize("parts", [{}, {"train": []}, {"train": ["absent"]}, {"train": ["a", "absent"]}])
def test_a_part_without_tiles_is_refused(dataset, parts):
    edit(dataset, splits={"1": parts})
    with pytest.raises(InputError, match=r"the train part of split 1 of .* has no tiles"):
        Tiles(dataset).split(1, "train")


def test_a_dataset_without_splits_says_which_folds_it_has(dataset):
    edit(dataset, splits={})
    with pytest.raises(InputError, match=r"split 1 is not one of .*: none, since it has only a, b"):
        Tiles(dataset).split(1, "train")


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(InputError, match=r"split 3 is not one of .*dataset: 1, 2"):
        Tiles(dataset).split(3, "train")


def test_a_missing_folder_is_refused(tmp_path):
    assert "is not a folder" in refusal(tmp_path / "absent")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "is not a folder" in refusal(tmp_path / "file")


def test_an_empty_folder_is_refused(tmp_path):
    assert "is empty: give the folder of a prepared dataset" in refusal(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "images.npy").touch()
    assert "holds no manifest.json" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "{}", '{"format": "monch-tiles"}', "\x00\x01"])
def test_a_damaged_manifest_is_refused(dataset, text):
    (dataset / "manifest.json").write_text(text)
    message = refusal(dataset)
    assert "manifest.json is damaged" in message
    assert message.endswith("prepare the dataset again")


@pytest.mark.parametrize("key", ["format", "version", "vocabulary", "folds", "splits", "fingerprint"])
def test_a_manifest_that_lacks_something_is_refused_when_opened(dataset, key):
    edit(dataset, **{key: None})
    assert f"manifest.json is damaged ('{key}')" in refusal(dataset)


@pytest.mark.parametrize("folds", [["a"], {"a": 2}, {"a": {"tiles": "two", "tile_size": 16}}, {"a": {"tiles": 2}}])
def test_folds_of_another_form_are_refused(dataset, folds):
    edit(dataset, folds=folds)
    assert "manifest.json is damaged" in refusal(dataset)


@pytest.mark.parametrize("changes", [{"format": "other"}, {"version": 1}, {"version": 4}])
def test_another_format_is_refused(dataset, changes):
    edit(dataset, **changes)
    assert "expected monch-tiles 3 or monch-tiles 2: prepare the dataset again with this version" in refusal(dataset)


def test_a_dataset_of_version_2_has_pannukes_classes(dataset):
    edit(dataset, version=2, vocabulary=None, classes=PANNUKE.names)
    assert Tiles(dataset).vocabulary == Vocabulary.of_table(PANNUKE)
    edit(dataset, classes=["background", "cell"])
    assert "manifest.json is damaged (it has classes ['background', 'cell'])" in refusal(dataset)


def test_a_vocabulary_of_ones_own_is_kept(tmp_path):
    labels = {"cell": None, "one": ["class 1"], "two": ["class 2"], "few": ["class 1", "class 2"], "three": ["class 3"]}
    vocabulary = Vocabulary.of_nuclei(some_classes(4), labels)
    tiles = Tiles(write(tmp_path / "mine", vocabulary=vocabulary))
    assert tiles.vocabulary == vocabulary
    assert tiles.class_table == some_classes(4)
    row = tiles.rows(["a"])[0]
    assert {f"{name}_pixels" for name in ("background", *labels, "ignored")} <= set(row)
    made = TileLabels(tiles, PANNUKE)
    assert made.lookup(tiles.items(["a"])[0]["label"])[:6].tolist() == [0, 6, 6, 6, 6, 6]
    shares = TileLabels(tiles, some_classes(4)).class_shares(tiles, ["a"])
    pixels = {name: int(sum(int(r[f"{name}_pixels"]) for r in tiles.rows(["a"]))) for name in vocabulary.names}
    first = pixels["one"] + pixels["few"] / 2 + pixels["cell"] / 3
    assert shares[1] == pytest.approx(first / sum(pixels.values()))
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("name", ["images", "classes", "instances"])
def test_an_array_of_another_type_is_refused(dataset, name):
    path = dataset / "b" / f"{name}.npy"
    np.save(path, np.load(path).astype(np.int32))
    message = refusal(dataset)
    assert f"{path} holds int32 [3, 16, 16" in message
    assert message.endswith("prepare the dataset again")


def test_an_array_of_another_length_is_refused(dataset):
    path = dataset / "a" / "classes.npy"
    np.save(path, np.load(path)[:1])
    assert f"{path} holds uint8 [1, 16, 16]; its manifest states uint8 [2, 16, 16]" in refusal(dataset)


def test_an_array_of_another_size_is_refused(dataset):
    folds = {"a": {"tiles": 2, "tile_size": 16}, "b": {"tiles": 3, "tile_size": 32}}
    edit(dataset, folds=folds)
    assert "holds uint8 [3, 16, 16, 3]; its manifest states uint8 [3, 32, 32, 3]" in refusal(dataset)


def test_a_missing_array_is_refused(dataset):
    (dataset / "b" / "instances.npy").unlink()
    assert "instances.npy cannot be read" in refusal(dataset)


@pytest.mark.parametrize("keep", [0, 5, 100, 300])
def test_a_truncated_array_is_refused(dataset, keep):
    path = dataset / "a" / "images.npy"
    path.write_bytes(path.read_bytes()[:keep])
    assert "images.npy cannot be read" in refusal(dataset)


def test_pickled_objects_are_refused(dataset):
    np.save(dataset / "a" / "images.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    assert "images.npy cannot be read" in refusal(dataset)


def test_folds_may_have_tiles_of_different_sizes(tmp_path):
    folds = {"a": fold_of([0, 1], SIZE), "b": fold_of([10], 2 * SIZE)}
    tiles = Tiles(write(tmp_path / "dataset", folds=folds))
    assert tiles.folds == {"a": 2, "b": 1}
    assert np.load(tiles.dir / "b" / "images.npy").shape == (1, 2 * SIZE, 2 * SIZE, 3)


def test_a_class_map_with_a_class_that_does_not_exist_is_refused(dataset):
    path = dataset / "a" / "classes.npy"
    classes = np.load(path)
    classes[1, 3, 4] = 6
    np.save(path, classes)
    assert f"{path}#1 holds 6" in refusal(dataset)


def test_pixels_and_nuclei_are_counted_by_class():
    classes, instances = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint16)
    classes[0], instances[0] = 1, [1, 1, 2, 2, 9]
    classes[1, :2], instances[1, :2] = 5, 3
    classes[2], instances[2] = 255, [4, 4, 4, 5, 0]
    counts = count_tile(Tile(np.zeros((4, 5, 3), np.uint8), classes, instances, "Colon", "made"), PANNUKE.names)
    assert counts == {
        "background_pixels": 8,
        "neoplastic_pixels": 5,
        "neoplastic_nuclei": 3,
        "inflammatory_pixels": 0,
        "inflammatory_nuclei": 0,
        "connective_pixels": 0,
        "connective_nuclei": 0,
        "dead_pixels": 0,
        "dead_nuclei": 0,
        "epithelial_pixels": 2,
        "epithelial_nuclei": 1,
        "ignored_pixels": 5,
        "ignored_nuclei": 2,
    }


def test_rows_hold_the_counts_and_remarks_of_each_tile(dataset):
    rows = Tiles(dataset).rows(["b", "a"])
    for row, seed in zip(rows, [10, 11, 12, 0, 1], strict=True):
        made = tile(seed)
        expected = {"tissue": made.tissue, "source": made.source, **count_tile(made, PANNUKE.names), "torn": seed}
        assert row == {name: str(value) for name, value in expected.items()}


@pytest.mark.parametrize("keep", [1, 3])
def test_another_number_of_rows_than_of_tiles_is_refused(dataset, keep):
    table = dataset / "a" / "tiles.csv"
    lines = (table.read_bytes() * 2).splitlines(keepends=True)
    table.write_bytes(b"".join(lines[: 1 + keep]))
    with pytest.raises(InputError, match=f"tiles.csv has {keep} tiles; its manifest states 2"):
        Tiles(dataset).items(["a"])


@pytest.mark.parametrize(("before", "after"), [(b"dead_nuclei", b"undead_nuclei"), (b"dead_pixels", b"dead")])
def test_a_table_without_the_counts_of_a_label_is_refused(dataset, before, after):
    table = dataset / "a" / "tiles.csv"
    table.write_bytes(table.read_bytes().replace(before, after))
    with pytest.raises(InputError, match=rf"tiles\.csv has no number {before.decode()} for each tile: prepare the"):
        Tiles(dataset).items(["a"])


def test_a_missing_table_is_refused(dataset):
    (dataset / "a" / "tiles.csv").unlink()
    with pytest.raises(InputError, match=r"tiles\.csv cannot be read .*: prepare the dataset again"):
        Tiles(dataset).items(["a"])


def test_tiles_of_a_fold_are_read_back_with_their_remarks(dataset):
    for found, seed in zip(read_tiles(dataset / "b", PANNUKE.names), SEEDS["b"], strict=True):
        made = tile(seed)
        assert all(np.array_equal(one, other) for one, other in zip(found[:3], made[:3], strict=True))
        assert found[3:] == made[3:]


def test_a_dataset_can_be_moved(dataset, tmp_path):
    shutil.move(dataset, tmp_path / "elsewhere")
    assert Tiles(tmp_path / "elsewhere").items(["a"])[0]["image"] == f"{tmp_path / 'elsewhere'}/a/images.npy#0"
