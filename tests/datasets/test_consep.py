import json
import os

import numpy as np
import pytest
import scipy.io
from PIL import Image

from monch_monai.class_table import PANNUKE, Vocabulary, find_class_table
from monch_monai.data import TileLabels, Tiles
from monch_monai.datasets import consep, prepare_consep
from monch_monai.datasets.consep import CLASS_OF_TYPE, VALIDATION_FIELDS, read_field
from monch_monai.errors import InputError
from tests.fakes.tiny import contents

SIZE = 442
"""Of a fake field: two by two tiles of 256 px, overlapping by 70."""
EDGES = (0, 186)
STRIPE = 32
"""Raw types stand in stripes of nuclei, so many pixels high; the rest is background."""


def labels_of(size=SIZE):
    """Types 1 to 7 in stripes from row 32 on, left half only; each row of eight pixels is a nucleus."""
    types, instances = np.zeros((size, size)), np.zeros((size, size))
    for raw in range(1, 8):
        for part in range(4):
            here = np.s_[STRIPE * raw + 8 * part : STRIPE * raw + 8 * part + 8, : size // 2]
            types[here], instances[here] = raw, 4 * raw + part
    return {"type_map": types, "inst_map": instances}


def picture_of(name, size=SIZE):
    """Bluish where nuclei are, pink elsewhere, and different in every field."""
    image = np.full((size, size, 3), (230, 180, 210), np.uint8)
    image[labels_of(size)["type_map"] > 0] = (90, 60, 140)
    image[..., 1] += np.uint8(sum(map(ord, name)) % 50)
    image[..., 1] += (np.arange(size) % 7).astype(np.uint8)
    return image


def write_field(part, name, size=SIZE):
    (part / "Images").mkdir(parents=True, exist_ok=True)
    (part / "Labels").mkdir(exist_ok=True)
    Image.fromarray(picture_of(name, size)).save(part / "Images" / f"{name}.png")
    scipy.io.savemat(part / "Labels" / f"{name}.mat", labels_of(size), do_compression=True)


def write_source(root, fields=("train_1", "train_2", "train_10"), test=("test_1",)):
    for name in fields:
        write_field(root / "Train", name)
    for name in test:
        write_field(root / "Test", name)
    return root


def relabel(root, name, **arrays):
    scipy.io.savemat(root / "Train" / "Labels" / f"{name}.mat", labels_of() | arrays)


def refusal(root, held_out=("train_2",)):
    with pytest.raises(InputError) as caught:
        prepare_consep(root, root.parent / "refused", held_out)
    assert len(str(caught.value).splitlines()) == 1
    assert not (root.parent / "refused").exists()
    return str(caught.value)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consep")
    return prepare_consep(write_source(folder / "CoNSeP"), folder / "prepared", ["train_2"])


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "CoNSeP")


def array(folder, fold, name):
    return np.load(folder / fold / f"{name}.npy", mmap_mode="r")


def sources(tiles, folds):
    return [item["source"] for item in tiles.items(folds)]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (2, "inflammatory"),
        (3, "epithelial"),
        (4, "neoplastic"),
        (5, "connective"),
        (6, "connective"),
        (7, "connective"),
    ],
)
def test_a_raw_type_becomes_its_class(prepared, raw, name):
    stripe = array(prepared, "validation", "classes")[0, STRIPE * raw : STRIPE * (raw + 1), : SIZE // 2]
    assert {PANNUKE.classes[c].name for c in np.unique(stripe)} == {name}


def test_the_type_other_is_left_out_and_background_stays(prepared):
    classes = array(prepared, "validation", "classes")[0]
    assert np.unique(classes[STRIPE : 2 * STRIPE, : SIZE // 2]).tolist() == [255]
    assert np.unique(classes[:STRIPE]).tolist() == np.unique(classes[:, SIZE // 2 :]).tolist() == [0]


def test_no_type_becomes_dead():
    assert next(c.index for c in PANNUKE.classes if c.name == "dead") not in CLASS_OF_TYPE


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """With CoNSeP's own seven types."""
    folder = tmp_path_factory.mktemp("seven")
    return prepare_consep(write_source(folder / "CoNSeP"), folder / "prepared", ["train_2"], types=True)


def test_types_are_kept_where_wanted(seven):
    assert np.array_equal(array(seven, "validation", "classes")[0], labels_of()["type_map"])
    tiles = Tiles(seven)
    assert tiles.vocabulary == Vocabulary.of_table(find_class_table("consep"))
    (row,) = tiles.rows(["validation"])
    assert [row[f"{name}_nuclei"] for name in tiles.class_table.names[1:]] == ["4"] * 7
    assert row["ignored_pixels"] == "0"


@pytest.mark.parametrize("types", ["maybe", 2, None])
def test_types_that_are_neither_true_nor_false_are_refused(source, tmp_path, types):
    with pytest.raises(InputError, match=f"types is {types!r}; give true or false"):
        prepare_consep(source, tmp_path / "prepared", ["train_2"], types)


def test_the_manifest_says_whether_the_type_other_counts(prepared, seven):
    labels = [json.loads((folder / "manifest.json").read_text())["labels"] for folder in (prepared, seven)]
    assert labels == ["by hand; CoNSeP's type 'other' is not counted", "by hand"]


def test_kept_types_stand_for_pannukes_classes(prepared, seven):
    merged, kept = Tiles(prepared), Tiles(seven)
    labels = TileLabels(kept, PANNUKE)
    looked_up = labels.lookup(kept.items(["validation"])[0]["label"])[array(seven, "validation", "classes")[0]]
    expected = array(prepared, "validation", "classes")[0]
    known = expected != 255
    assert np.array_equal(looked_up[known], expected[known])
    assert set(np.unique(looked_up[~known])) == {labels.sets.value_of([1, 2, 3, 4, 5])}  # `other` may be any
    in_seven = TileLabels(merged, kept.class_table)
    names = in_seven.sets.names
    found = {names[v] for v in in_seven.lookup(merged.items(["validation"])[0]["label"])[[1, 2, 3, 5]]}
    assert found == {
        "malignant_epithelial",
        "inflammatory",
        "fibroblast or muscle or endothelial",
        "healthy_epithelial",
    }


def test_whole_fields_come_back_exactly(prepared):
    assert np.array_equal(array(prepared, "validation", "images")[0], picture_of("train_2"))
    assert np.array_equal(array(prepared, "validation", "instances")[0], labels_of()["inst_map"])
    assert np.array_equal(array(prepared, "test", "images")[0], picture_of("test_1"))


def test_no_field_is_on_both_sides_of_the_split(prepared):
    tiles = Tiles(prepared)
    fields = {
        part: {s.split()[0] for s in sources(tiles, tiles.split(1, part))} for part in ("train", "validation", "test")
    }
    assert fields == {"train": {"train_1", "train_10"}, "validation": {"train_2"}, "test": {"test_1"}}


def test_the_split_of_all_trains_on_every_training_field(prepared):
    tiles = Tiles(prepared)
    assert {s.split()[0] for s in sources(tiles, tiles.split("all", "train"))} == {"train_1", "train_2", "train_10"}
    assert tiles.split("all", "test") == ["test"]


def test_fields_are_in_the_order_of_their_numbers(prepared):
    tiles = Tiles(prepared)
    assert list(dict.fromkeys(s.split()[0] for s in sources(tiles, ["train"]))) == ["train_1", "train_10"]


def test_tiles_lie_where_they_say_and_cover_their_field(prepared):
    tiles = Tiles(prepared)
    images, covered = array(prepared, "train", "images"), np.zeros((SIZE, SIZE), int)
    for image, source in zip(images[:4], sources(tiles, ["train"])[:4], strict=True):
        name, x, y = source.split()
        x, y = int(x.removeprefix("x=")), int(y.removeprefix("y="))
        assert name == "train_1"
        assert np.array_equal(image, picture_of(name)[y : y + 256, x : x + 256])
        covered[y : y + 256, x : x + 256] += 1
    assert covered.min() == 1
    assert np.count_nonzero(covered > 1) == SIZE**2 - (SIZE - 70) ** 2


def test_classes_and_instances_of_tiles_are_cut_like_their_images(prepared):
    for name, whole in (
        ("classes", CLASS_OF_TYPE[labels_of()["type_map"].astype(int)]),
        ("instances", labels_of()["inst_map"]),
    ):
        cut = [whole[y : y + 256, x : x + 256] for y in EDGES for x in EDGES]
        assert np.array_equal(array(prepared, "train", name), np.stack(cut * 2))


def test_the_published_size_of_fields_gives_five_by_five_tiles(tmp_path):
    write_field(tmp_path, "train_1", 1000)
    write_field(tmp_path, "train_2", 1000)
    tiles = Tiles(prepare_consep(tmp_path, tmp_path / "prepared", ["train_2"]))
    assert tiles.folds == {"train": 25, "validation": 1, "validation_tiles": 25}
    ends = {(int(s.split("x=")[1].split()[0]) + 256, int(s.split("y=")[1]) + 256) for s in sources(tiles, ["train"])}
    assert max(ends) == (1000, 1000)


def test_the_held_out_fields_are_five_of_the_training_part():
    assert len(set(VALIDATION_FIELDS)) == 5
    assert set(VALIDATION_FIELDS) <= {f"train_{i}" for i in range(1, 28)}


def test_a_source_without_a_test_part_has_none(tmp_path):
    tiles = Tiles(prepare_consep(write_source(tmp_path / "source", test=()), tmp_path / "prepared", ["train_2"]))
    assert tiles.folds == {"train": 8, "validation": 1, "validation_tiles": 4}
    assert tiles.splits["1"] == {"train": ["train"], "validation": ["validation"]}


def test_the_folder_above_and_the_training_part_itself_are_sources(source, tmp_path, prepared):
    above = prepare_consep(tmp_path, tmp_path / "above", ["train_2"])
    assert Tiles(above).fingerprint == Tiles(prepared).fingerprint
    alone = prepare_consep(source / "Train", tmp_path / "alone", ["train_2"])
    assert np.array_equal(array(alone, "train", "images"), array(prepared, "train", "images"))


def test_manifest_and_card_name_the_dataset(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert manifest["name"] == "CoNSeP"
    assert manifest["license"].startswith("none stated by its authors")
    assert (prepared / "card.md").read_text().startswith("# CoNSeP\n")


def test_interrupted_work_is_gone_on_with_to_the_same_bytes(tmp_path, prepared, monkeypatch, source):
    class Interrupted(Exception):
        pass

    reads = []

    def read(path, size, values):
        reads.append(path.stem)
        if len(reads) == 2:
            raise Interrupted
        return read_field(path, size, values)

    with monkeypatch.context() as patch:
        patch.setattr(consep, "read_field", read)
        with pytest.raises(Interrupted):
            prepare_consep(source, tmp_path / "prepared", ["train_2"])
    prepare_consep(source, tmp_path / "prepared", ["train_2"])
    arrays = {path: data for path, data in contents(prepared).items() if path.endswith((".npy", ".csv"))}
    again = contents(tmp_path / "prepared")
    assert {path: again[path] for path in arrays} == arrays


def test_something_else_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    assert "holds neither Train/Images nor Images: give CoNSeP's folder" in refusal(tmp_path / "source")


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "source/Train/Images").mkdir(parents=True)
    assert "Images holds no PNG" in refusal(tmp_path / "source")


def test_a_field_that_does_not_exist_cannot_be_held_out(source):
    assert "no such field to hold out, or none left to train on: ['train_6']" in refusal(source, ["train_2", "train_6"])


def test_a_field_must_be_left_to_train_on(source):
    message = refusal(source, ["train_1", "train_2", "train_10"])
    assert "none left to train on: ['train_1', 'train_10', 'train_2']" in message
    assert "--validation_fields" in message


@pytest.mark.parametrize("part", ["Train", "Test"])
def test_missing_labels_are_refused(source, part):
    missing = source / part / "Labels" / f"{part.lower()}_1.mat"
    missing.unlink()
    assert refusal(source).endswith(f"has no labels: {missing} is missing")


@pytest.mark.parametrize("keep", [0, 60, 128, 140, 1000])
def test_labels_cut_off_are_refused(source, keep):
    path = source / "Train" / "Labels" / "train_10.mat"
    os.truncate(path, keep)
    message = refusal(source)
    assert message.startswith(f"{path} cannot be read as CoNSeP's labels (")
    assert message.endswith("): fetch it again")


@pytest.mark.parametrize("shift", [300, 700, 1500])
def test_labels_damaged_inside_are_refused(source, shift):
    path = source / "Train" / "Labels" / "train_10.mat"
    data = bytearray(path.read_bytes())
    data[shift : shift + 20] = bytes(255 - byte for byte in data[shift : shift + 20])
    path.write_bytes(data)
    assert str(path) in refusal(source)


@pytest.mark.parametrize("name", ["inst_map", "type_map"])
def test_labels_without_a_map_are_refused(source, name):
    kept = {key: value for key, value in labels_of().items() if key != name}
    scipy.io.savemat(source / "Train" / "Labels" / "train_1.mat", kept)
    assert f"train_1.mat cannot be read as CoNSeP's labels (KeyError('{name}'))" in refusal(source)


def test_labels_of_another_size_than_their_picture_are_refused(source):
    relabel(source, "train_1", **labels_of(SIZE - 1))
    assert refusal(source).endswith(
        f"train_1.mat is of [{SIZE - 1}, {SIZE - 1}] px; its picture is of [{SIZE}, {SIZE}]"
    )


@pytest.mark.parametrize("value", [8, -1, 2.5, np.nan])
def test_a_type_that_does_not_exist_is_refused(source, value):
    types = labels_of()["type_map"]
    types[STRIPE, 0] = value
    relabel(source, "train_1", type_map=types)
    assert "train_1.mat holds types from" in refusal(source)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("inst_map", (0, 0), 9), ("inst_map", (STRIPE, 0), 0), ("type_map", (0, 0), 4), ("inst_map", (STRIPE, 0), 70000)],
)
def test_maps_that_show_different_nuclei_are_refused(source, name, place, value):
    changed = labels_of()[name]
    changed[place] = value
    relabel(source, "train_1", **{name: changed})
    assert "train_1.mat: its type map and its instance map do not show the same nuclei" in refusal(source)


@pytest.mark.parametrize(("part", "name"), [("Train", "train_10"), ("Train", "train_2"), ("Test", "test_1")])
@pytest.mark.parametrize("size", [400, 500])
def test_a_field_of_another_size_than_the_rest_is_refused(source, part, name, size):
    write_field(source / part, name, size)
    assert f"{name}.png is of {size}x{size} px; the first field is of {SIZE}x{SIZE}" in refusal(source)


def test_fields_smaller_than_a_tile_are_refused(tmp_path):
    for name in ("train_1", "train_2"):
        write_field(tmp_path / "source" / "Train", name, 255)
    assert "train_1.png is 255 px high; CoNSeP's fields are of 1000x1000 px" in refusal(tmp_path / "source")


def test_a_damaged_picture_is_refused(source):
    os.truncate(source / "Train" / "Images" / "train_10.png", 200)
    assert str(source / "Train" / "Images" / "train_10.png") in refusal(source)


def test_bgr_pictures_are_refused(source):
    for path in source.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path))[..., ::-1].copy()).save(path)
    assert "the images look BGR" in refusal(source)


def test_other_letter_case_and_files_of_macos_are_read_all_the_same(source, tmp_path, prepared):
    renamed = tmp_path / "other"
    for path in (path for path in source.rglob("*") if path.is_file()):
        part, kind, name = path.relative_to(source).parts
        to = renamed / part.lower() / kind.upper() / (name.replace(".png", ".PNG") if part == "Train" else name)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.symlink_to(path)
    (renamed / "train" / "IMAGES" / "._train_1.png").write_bytes(b"\0\5\x16\7Mac")
    made = prepare_consep(renamed, tmp_path / "made", validation_fields=["train_2"])
    assert Tiles(made).fingerprint == Tiles(prepared).fingerprint
