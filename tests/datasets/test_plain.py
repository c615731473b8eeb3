"""Labelled pictures in the plain layout, made by code."""

import json
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from monch_monai import arguments
from monch_monai.__main__ import Commands
from monch_monai.class_table import PANNUKE
from monch_monai.data import Tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets import prepare_plain
from monch_monai.datasets.plain_field import PlainField
from monch_monai.datasets.type_table import any_nucleus, read_type_table
from monch_monai.errors import InputError
from tests.fakes.fields import WHITE, picture, square, write_plain

HEIGHT, WIDTH = 120, 300
TYPE_OF = {1: 1, 2: 2, 3: 3, 40000: 4}
"""Type of each nucleus."""
PLACES = {1: square(10, 10, 20), 2: square(60, 10, 20), 3: square(110, 10, 20), 40000: square(250, 80, 20)}
UNLABELLED = square(200, 20, 14)
TABLE = "value,class\n1,neoplastic|epithelial\n2,inflammatory\n3,any\n4,ignore\n"


def at(corners):
    (x, y), (right, bottom) = corners[0], corners[2]
    return np.s_[y:bottom, x:right]


def maps(height=HEIGHT, width=WIDTH):
    instances, types = np.zeros((height, width), np.uint16), np.zeros((height, width), np.uint8)
    for number, corners in PLACES.items():
        instances[at(corners)], types[at(corners)] = number, TYPE_OF[number]
    return instances, types


def image_of():
    return picture(HEIGHT, WIDTH, [*PLACES.values(), UNLABELLED], WHITE)


def write_source(root, names=("p1_a", "p1_b", "p2_a"), types=True):
    instances, of_pixel = maps()
    for name in names:
        write_plain(root, name, image_of(), instances, **({"types": of_pixel} if types else {}))
    if types:
        (root / "classes.csv").write_text(TABLE)
    return root


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "work" / "source")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    root = write_source(folder / "mine")
    (root / "fields.csv").write_text("field,tissue\np1_a,lung\np1_b,LUNG\np2_a,brain\n")
    return prepare_plain(root, folder / "prepared", patients="^[^_]+", validation="p2")


def refusal(root, **settings):
    with pytest.raises(InputError) as caught:
        prepare_plain(root, root.parent / "refused", **settings)
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in root.parent.iterdir()] == [root.name]
    return str(caught.value)


def field(root, table=PANNUKE, name="p1_a", **settings):
    kinds = [kind for kind in ("instances", "types", "ignore") if (root / kind / f"{name}.png").exists()]
    types = read_type_table(root / "classes.csv", table) if "types" in kinds else any_nucleus(table)
    files = {kind: root / kind / f"{name}.png" for kind in kinds}
    return PlainField(root / "images" / f"{name}.png", files, types, **settings).read()


def sources(tiles, part):
    return [item["source"] for item in tiles.items(tiles.split(1, part))]


def test_types_become_the_labels_of_the_table(prepared):
    vocabulary = Tiles(prepared).vocabulary
    assert vocabulary.labels[:3] == (
        ("background", ("background",)),
        ("neoplastic or epithelial", ("neoplastic", "epithelial")),
        ("inflammatory", ("inflammatory",)),
    )
    assert vocabulary.names[3] == "any nucleus"
    assert len(vocabulary.labels[3][1]) == 5
    (tile,) = read_tiles(prepared / "validation_512", vocabulary.names)
    assert [int(np.unique(tile.classes[at(corners)]).item()) for corners in PLACES.values()] == [1, 2, 3, 255]


def test_a_held_out_field_comes_back_whole_with_its_nuclei_renumbered(prepared):
    (tile,) = read_tiles(prepared / "validation_512", Tiles(prepared).vocabulary.names)
    assert np.array_equal(tile.image[:HEIGHT, :WIDTH], image_of())
    expected = maps()[0].copy()
    expected[expected == 40000] = 4
    assert np.array_equal(tile.instances[:HEIGHT, :WIDTH], expected)
    assert (tile.classes[HEIGHT:] == 255).all()


def test_patients_by_a_pattern_are_on_one_side(prepared):
    tiles = Tiles(prepared)
    names = {part: {s.split()[0] for s in sources(tiles, part)} for part in ("train", "validation")}
    assert names == {"train": {"p1_a", "p1_b"}, "validation": {"p2_a"}}
    assert "- train: 2 fields of 1 patients: p1\n" in (prepared / "card.md").read_text()


def test_tissues_of_the_table_are_spelled_as_pannuke_has_them(prepared):
    tiles = Tiles(prepared)
    assert {item["tissue"] for item in tiles.items(["train"])} == {"Lung"}
    assert {item["tissue"] for item in tiles.items(["validation_512"])} == {"brain"}


def test_the_dataset_has_the_name_of_its_folder(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert (manifest["name"], manifest["labels"]) == ("mine", "by the source")


def test_patients_of_the_table_and_one_tissue_for_all(source, tmp_path):
    (source / "fields.csv").write_text("field,patient,tissue\np1_a,x,lung\np1_b,y,lung\np2_a,x,lung\n")
    tiles = Tiles(prepare_plain(source, tmp_path / "out", validation="x", tissue="Colon"))
    assert {item["source"].split()[0] for item in tiles.items(["train"])} == {"p1_b"}
    assert {item["tissue"] for item in tiles.items(["train"])} == {"Colon"}


def test_the_manifest_states_resampling_and_missing_labels(source, tmp_path):
    out = prepare_plain(source, tmp_path / "out", mpp=0.5, exhaustive="false", validation="p2_a")
    stated = json.loads((out / "manifest.json").read_text())["labels"]
    assert stated.startswith("not exhaustive: pixels without one are 255 unless far from haematoxylin")
    assert stated.endswith("; resampled from 0.5 to 0.25 µm/px, labels by the nearest pixel")
    assert Tiles(out).folds == {"train": 6, "validation_768": 1}


def test_without_types_nuclei_are_of_any_class(tmp_path):
    made = field(write_source(tmp_path, types=False))
    assert np.array_equal(made.classes, maps()[0] > 0)


def test_ignored_pixels_are_left_out(source):
    ignore = np.zeros((HEIGHT, WIDTH), np.uint8)
    ignore[:20] = 9
    (source / "ignore").mkdir()
    Image.fromarray(ignore).save(source / "ignore" / "p1_a.png")
    assert (field(source).classes[:20] == 255).all()
    assert np.array_equal(field(source).classes[20:], field(source, name="p1_b").classes[20:])


def test_without_all_labels_other_nuclei_are_no_background(source):
    made = field(source, exhaustive=False)
    assert (made.classes[at(UNLABELLED)] == 255).all()
    assert (field(source).classes[at(UNLABELLED)] == 0).all()
    assert np.array_equal(made.classes[maps()[0] > 0], field(source).classes[maps()[0] > 0])
    assert (made.classes[100:, 20:180] == 0).all()


def test_a_nucleus_has_the_type_of_most_of_its_pixels(source):
    types = maps()[1]
    types[10:16, 10:30] = 2  # 120 of 400
    types[10:20, 60:80] = 0  # 200 without a type
    types[110, 200:204] = 1  # no nucleus
    Image.fromarray(types).save(source / "types" / "p1_a.png")
    made = field(source)
    assert [int(np.unique(made.classes[at(PLACES[n])]).item()) for n in (1, 2)] == [1, 2]
    assert (made.classes[110, 200:204] == 255).all()
    assert [count for count in made.remarks.values() if count] == [1, 4]


def test_coarser_pixels_are_enlarged_with_labels_by_the_nearest(source):
    made, native = field(source, scale=2.0), field(source)
    assert made.image.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert np.array_equal(made.instances, native.instances.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(made.classes, native.classes.repeat(2, 0).repeat(2, 1))
    assert np.abs(made.image[::2, ::2].astype(int) - native.image).mean() < 3


def test_finer_pixels_are_averaged_over_their_area(source):
    made, native = field(source, scale=0.5), field(source)
    area = native.image.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert np.abs(made.image - area).max() <= 0.5
    assert np.array_equal(made.instances, native.instances[1::2, 1::2])


def test_pixels_within_five_percent_stay_as_they_are(source, tmp_path):
    out = prepare_plain(source, tmp_path / "out", mpp=0.2525, validation="p2_a")
    (tile,) = read_tiles(out / "validation_512", Tiles(out).vocabulary.names)
    assert np.array_equal(tile.image[:HEIGHT, :WIDTH], image_of())


@pytest.mark.parametrize("kind", ["tif16", "tif32", "deflate", "npy", "npy64", "bool"])
def test_maps_come_in_several_formats(tmp_path, kind):
    root = write_source(tmp_path, types=False)
    path, ids = root / "instances" / "p1_a.png", maps()[0]
    path.unlink()
    if "npy" in kind:
        np.save(path.with_suffix(".npy"), ids.astype(np.int64 if kind == "npy64" else np.uint16))
    elif kind == "bool":
        ids = ids == 1
        np.save(path.with_suffix(".npy"), ids)
    else:
        compression = "zlib" if kind == "deflate" else None
        dtype = np.uint32 if kind == "tif32" else np.uint16
        tifffile.imwrite(path.with_suffix(".tif"), ids.astype(dtype), compression=compression)
    (suffix,) = (p.suffix for p in (root / "instances").glob("p1_a.*"))
    made = PlainField(root / "images/p1_a.png", {"instances": path.with_suffix(suffix)}, any_nucleus(PANNUKE)).read()
    assert np.array_equal(made.instances, ids)


@pytest.mark.parametrize(
    "text",
    [
        "1: neoplastic|epithelial\n2: inflammatory\n3: any\n4: ignore\n",
        '{"1": "epithelial | neoplastic", "2": inflammatory, 3: any, 4: ignore}',
    ],
)
def test_yaml_says_the_same_as_csv(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text)
    (tmp_path / "classes.csv").write_text("\ufeff" + TABLE)
    yaml, csv = (read_type_table(tmp_path / f"classes.{kind}", PANNUKE) for kind in ("yaml", "csv"))
    assert (yaml.vocabulary, yaml.label_of) == (csv.vocabulary, csv.label_of)
    assert csv.label_of == {1: 1, 2: 2, 3: 3, 4: 255}


def test_types_of_one_meaning_share_a_label(tmp_path):
    (tmp_path / "classes.csv").write_text("value,class\n7,connective\n5,connective\n")
    table = read_type_table(tmp_path / "classes.csv", PANNUKE)
    assert table.label_of == {7: 1, 5: 1}
    assert table.vocabulary.names == ["background", "connective"]


def test_another_class_table_is_taken_by_name(source, tmp_path):
    (source / "classes.csv").write_text("value,class\n1,fibroblast\n2,muscle\n3,inflammatory\n4,any\n")
    tiles = Tiles(prepare_plain(source, tmp_path / "out", classes="consep", validation="p2_a"))
    assert tiles.class_table.name == "consep"
    assert tiles.vocabulary.names[1] == "fibroblast"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("value,class\n1,tumour\n", "gives type 1 the class 'tumour'; class table pannuke has neoplastic"),
        ("value,class\n1,background\n", "gives type 1 the class 'background'"),
        ("value,class\n1,any|neoplastic\n", "gives type 1 the class 'any'"),
        ("value,class\n1\n", "has 1 cells in line 2 ('1'), and 2 columns"),
        ("value,class\n1,neoplastic,epithelial\n", "has 3 cells in line 2 ('1,neoplastic,epithelial'), and 2 columns"),
        ("value,class,class\n1,any,dead\n", "has 2 columns 'class'"),
        ("value,class\n256,any\n", "has the type value '256': give whole numbers from 0 to 255"),
        ("value,class\n-1,any\n", "has the type value '-1'"),
        ("value,class\n1,any\n1,ignore\n", "has the type value 1 twice"),
        ("value,class\n1,ignore\n", "gives no type a class"),
        ("value,class\n", "gives no type a class"),
        ("", "has no column 'value'"),
        ("value,class\n1,any\0\n", "classes.csv"),
        ("type,class\n1,any\n", "has no column 'value': it needs the columns value and class"),
        ("value,class\n" + "1,any\n" * 200_000, "it has 1,200,012 bytes"),
    ],
)
def test_a_table_of_types_that_cannot_be_used_is_refused(tmp_path, text, said):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_type_table(tmp_path / "classes.csv", PANNUKE)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "1: [any]\n",
        "- any\n",
        "any",
        "",
        "1: any\n1: ignore\n",
        "{",
        "1: !!python/name:os.system x\n2: [a]",
        "1: &a any\n2: *a\n",
        "1: " + "[" * 3000,
        "1:\n2: any\n",
    ],
)
def test_yaml_that_is_no_table_is_refused(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_type_table(tmp_path / "classes.yaml", PANNUKE)
    assert len(str(caught.value).splitlines()) == 1


def rewrite(root, kind, pixels, name="p1_a"):
    Image.fromarray(pixels).save(root / kind / f"{name}.png")


def damage(root, what):
    instances, types = maps()
    if what == "size":
        rewrite(root, "instances", instances[:-1])
    elif what == "type size":
        rewrite(root, "types", types[:, 1:])
    elif what == "type":
        types[types == 1] = 9
        rewrite(root, "types", types)
    elif what == "no type":
        types[types == 3] = 0
        rewrite(root, "types", types)
    elif what == "colour":
        rewrite(root, "instances", image_of())
    elif what == "cut":
        os.truncate(root / "instances/p1_a.png", 60)
    elif what == "picture cut":
        os.truncate(root / "images/p1_a.png", 200)
    elif what == "tiny":
        Image.fromarray(image_of()[:20]).save(root / "images/p1_a.png")
    else:
        (root / "instances/p1_a.png").unlink()
        values = {"large": 65536, "negative": -1, "half": 0.5, "nan": np.nan}
        pixels = instances.astype(object if what == "pickle" else float)
        pixels[0, 0] = values.get(what, 0)
        np.save(root / "instances/p1_a.npy", pixels)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("size", "instances/p1_a.png is of 300x119 px; its picture is of 300x120: give maps of the picture's size"),
        ("type size", "types/p1_a.png is of 299x120 px"),
        ("type", "types/p1_a.png holds the type 9;"),
        ("no type", "types/p1_a.png has no type for the nucleus 3: give it one, or state in"),
        ("colour", "instances/p1_a.png is of shape [120, 300, 3] and type uint8; expected one channel"),
        ("cut", "instances/p1_a.png cannot be read as a map ("),
        ("picture cut", "images/p1_a.png"),
        ("tiny", "images/p1_a.png is 300x20 px; at least 32x32 is needed"),
        ("large", "instances/p1_a.npy holds 0 to 65536; expected whole numbers from 0 to 65535"),
        ("negative", "instances/p1_a.npy holds -1 to 40000"),
        ("half", "instances/p1_a.npy holds 0 to 40000; expected whole numbers"),
        ("nan", "instances/p1_a.npy holds nan to nan"),
        ("pickle", "instances/p1_a.npy cannot be read as a map ("),
    ],
)
def test_a_damaged_file_or_wrong_value_is_refused(source, what, said):
    damage(source, what)
    assert said in refusal(source)


def test_a_type_of_zero_may_have_a_meaning(source):
    damage(source, "no type")
    (source / "classes.csv").write_text(TABLE + "0,connective\n")
    assert np.unique(field(source).classes[at(PLACES[3])]).tolist() == [4]


def test_missing_files_are_refused(source):
    (source / "types/p1_b.png").unlink()
    assert "p1_b.png has no labels:" in refusal(source)
    (source / "instances/p1_b.png").unlink()
    assert "instances holds no p1_b.png, .tif or .npy" in refusal(source)


def test_types_and_their_table_need_each_other(source):
    (source / "classes.csv").rename(source / "classes.yaml")
    assert "cannot be read as a table of types" in refusal(source)
    (source / "classes.yaml").unlink()
    assert "has types/ but no table classes.csv or classes.yaml" in refusal(source)
    root = write_source(source.parents[1] / "other" / "source", types=False)
    (root / "classes.csv").write_text(TABLE)
    assert "has classes.csv but no folder types" in refusal(root)


def test_two_of_one_name_are_refused(source):
    Image.fromarray(image_of()).save(source / "images/p1_a.jpg")
    assert "two fields are named p1_a, p1_a.jpg and p1_a.png: rename one" in refusal(source)
    (source / "images/p1_a.jpg").unlink()
    np.save(source / "instances/p1_a.npy", maps()[0])
    assert "has p1_a.png and p1_a.npy: remove one" in refusal(source)
    (source / "instances/p1_a.npy").unlink()
    (source / "classes.yaml").write_text("1: any")
    assert "has classes.csv and classes.yaml: remove one" in refusal(source)


def test_folders_that_are_missing_or_empty_are_refused(tmp_path):
    root = tmp_path / "work" / "source"
    (root / "images").mkdir(parents=True)
    assert "has no folder instances: give a folder with images/ and instances/" in refusal(root)
    (root / "instances").mkdir()
    assert "images holds no picture" in refusal(root)


def test_a_table_of_fields_without_fields_is_refused(source):
    (source / "fields.csv").write_text("name,tissue\na,lung\n")
    assert "fields.csv has no column 'field': it needs the columns field" in refusal(source)
    (source / "fields.csv").write_text("field,patient\np1_a,a\np1_b.png,a\n")
    assert "has the field 'p1_b.png', of which there is no picture: did you mean p1_b?" in refusal(source)
    (source / "fields.csv").write_text("field,patient\np1_a,a\np1_a,b\n")
    assert "has the field 'p1_a' twice" in refusal(source)
    (source / "fields.csv").write_bytes("field,patient\n".encode("utf-16"))
    assert "fields.csv cannot be read as CSV in UTF-8" in refusal(source)
    (source / "fields.csv").unlink()
    (source / "fields.csv").mkdir()
    assert "fields.csv cannot be read as CSV in UTF-8" in refusal(source)


def test_maps_of_no_picture_are_refused_and_not_left_out(source):
    (source / "ignore").mkdir()
    rewrite(source, "ignore", np.zeros((HEIGHT, WIDTH), np.uint8), "P1_a")
    (source / "ignore" / "P1_a.png").rename(source / "ignore" / "P1_A.png")
    assert "ignore/P1_A.png has no picture" in refusal(source)
    (source / "ignore" / "P1_A.png").rename(source / "ignore" / "p1_a.jpg")
    assert "ignore/p1_a.jpg is no map: write it as .png, .tif, .tiff, .npy" in refusal(source)


def test_the_suffix_of_a_map_may_be_in_capitals(source, tmp_path):
    path = source / "instances" / "p1_a.png"
    path.rename(path.with_suffix(".PNG"))
    assert Tiles(prepare_plain(source, tmp_path / "out", validation="p2_a")).folds["train"] > 0


def test_a_mask_in_place_of_numbers_is_refused(source):
    rewrite(source, "instances", np.where(maps()[0] > 0, 255, 0).astype(np.uint8))
    assert "instances/p1_a.png has one nucleus, in 4 pieces, as a mask would" in refusal(source)


def test_nuclei_that_share_a_number_are_counted(source):
    instances = maps()[0]
    instances[instances == 2] = 1
    rewrite(source, "instances", instances.astype(np.uint8))
    assert field(source).remarks["nuclei in several pieces, as where numbers were cut to 8 bits"] == 1


def test_a_field_that_its_resolution_leaves_no_pixels_is_refused(source, tmp_path):
    with pytest.raises(
        InputError, match="is of 24x10 px at the network's resolution: at least 32x32 is needed, so check"
    ):
        prepare_plain(source, tmp_path / "out", mpp=0.02, validation="p2_a")
    assert not list(tmp_path.glob("*out*"))


def test_maps_of_complex_numbers_are_refused(source):
    (source / "instances" / "p1_a.png").unlink()
    np.save(source / "instances" / "p1_a.npy", np.zeros((HEIGHT, WIDTH), complex))
    assert "and type complex128; expected one channel of whole numbers" in refusal(source)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mpp": 0}, "mpp is 0; give µm per pixel"),
        ({"mpp": 3.0}, "mpp is 3.0; give µm per pixel"),
        ({"exhaustive": "maybe"}, "exhaustive is 'maybe'; give true or false"),
        ({"classes": "nothing"}, "class table nothing does not exist"),
        ({"validation": "p3"}, "validation names 'p3', no patient and no field"),
        ({"patients": "^p"}, "holds out 0 of 1 patients"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(source, settings, said):
    assert said in refusal(source, **settings)


def test_an_existing_folder_is_left_alone(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already: name another folder, or remove it"):
        prepare_plain(source, tmp_path / "out", validation="p2_a")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_the_command_takes_names_that_look_like_numbers(tmp_path, monkeypatch):
    root = write_source(tmp_path / "2024", ("1001", "1002", "1003"))
    monkeypatch.chdir(tmp_path)
    arguments.run(
        Commands(), "monch_monai", ["prepare_plain", root.name, "2025", "--validation", "1002", "--tissue", "7"]
    )
    tiles = Tiles(tmp_path / "2025")
    assert sources(tiles, "validation") == ["1002"]
    assert {item["tissue"] for item in tiles.items(["train"])} == {"7"}
