import json

import numpy as np
import pytest

from monch_monai.classes import CLASSES
from monch_monai.data import Tiles, write_tiles
from monch_monai.data.tiles import Tile
from monch_monai.errors import InputError

SIZE = 16
SPLITS = {"1": {"train": ["a"], "validation": ["b"]}, "2": {"train": ["b"], "validation": ["a"], "test": ["a", "b"]}}


def tile(seed):
    rng = np.random.default_rng(seed)
    return Tile(
        rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        rng.integers(0, 6, (SIZE, SIZE), dtype=np.uint8),
        rng.integers(0, 65536, (SIZE, SIZE), dtype=np.uint16),
        f"tissue {seed}",
        f'slide {seed}, "left", µ',
    )


def write(folder, **changes):
    folds = {"a": (2, (tile(i) for i in range(2))), "b": (3, (tile(i) for i in range(10, 13)))}
    write_tiles(folder, **({"folds": folds, "splits": SPLITS, "tile_size": SIZE, "name": "two folds"} | changes))
    return folder


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
    for fold, seeds in (("a", range(2)), ("b", range(10, 13))):
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
        "tissue": "tissue 1",
        "source": 'slide 1, "left", µ',
    }


def test_the_manifest_says_what_the_dataset_is(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["name"]) == ("monch-tiles", 1, "two folds")
    assert (manifest["mpp"], manifest["tile_size"]) == (0.25, SIZE)
    assert manifest["classes"] == [c.name for c in CLASSES]
    assert {fold: entry["tiles"] for fold, entry in manifest["folds"].items()} == {"a": 2, "b": 3}
    assert Tiles(dataset).folds == {"a": 2, "b": 3}


def test_the_fingerprint_follows_the_contents(dataset, tmp_path):
    again = write(tmp_path / "again")
    other = write(tmp_path / "other", folds={"a": (2, [tile(0), tile(2)]), "b": (3, map(tile, range(10, 13)))})
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


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(InputError, match="split 3 is not one of this dataset's: 1, 2"):
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


@pytest.mark.parametrize("key", ["format", "version", "classes", "folds", "splits", "tile_size", "fingerprint"])
def test_a_manifest_that_lacks_something_is_refused_when_opened(dataset, key):
    edit(dataset, **{key: None})
    assert f"manifest.json is damaged ('{key}')" in refusal(dataset)


@pytest.mark.parametrize("folds", [["a"], {"a": 2}, {"a": {"tiles": "two"}}])
def test_folds_of_another_form_are_refused(dataset, folds):
    edit(dataset, folds=folds)
    assert "manifest.json is damaged" in refusal(dataset)


@pytest.mark.parametrize("changes", [{"format": "other"}, {"version": 2}, {"classes": ["background", "cell"]}])
def test_another_format_is_refused(dataset, changes):
    edit(dataset, **changes)
    assert "expected monch-tiles 1 with ['background', 'neoplastic'," in refusal(dataset)


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
    assert f"{path} holds uint8 [1, 16, 16]; its manifest says uint8 [2, 16, 16]" in refusal(dataset)


def test_an_array_of_another_size_is_refused(dataset):
    edit(dataset, tile_size=32)
    assert "holds uint8 [2, 16, 16, 3]; its manifest says uint8 [2, 32, 32, 3]" in refusal(dataset)


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


def interrupted():
    yield tile(0)
    raise KeyboardInterrupt


def failing():
    yield tile(0)
    raise RuntimeError("the source ran dry")


@pytest.mark.parametrize(("tiles", "error"), [(failing, RuntimeError), (interrupted, KeyboardInterrupt)])
def test_nothing_is_left_when_the_tiles_fail_midway(tmp_path, tiles, error):
    with pytest.raises(error):
        write(tmp_path / "dataset", folds={"a": (1, [tile(1)]), "b": (2, tiles())})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("announced", "given"), [(3, 2), (2, 3), (1, 0)])
def test_another_number_of_tiles_than_announced_is_refused_and_leaves_nothing(tmp_path, announced, given):
    with pytest.raises(ValueError, match=f"fold a was to hold {announced} tiles; got ({given}|more)"):
        write(tmp_path / "dataset", folds={"a": (announced, map(tile, range(given)))})
    assert list(tmp_path.iterdir()) == []


def test_a_tile_of_another_size_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="broadcast"):
        write(tmp_path / "dataset", tile_size=SIZE + 1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="dataset exists already: name another folder, or remove it"):
        write(tmp_path / "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    assert (tmp_path / "dataset" / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way_is_refused_and_left_alone(tmp_path):
    (tmp_path / "dataset").write_text("years of work")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "dataset")
    assert (tmp_path / "dataset").read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "dataset").mkdir()
    assert Tiles(write(tmp_path / "dataset")).folds == {"a": 2, "b": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
