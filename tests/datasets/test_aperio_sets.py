"""MoNuSeg and MoNuSAC in their official layouts, made by code."""

import json
import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from monch_monai.data import Tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets import prepare_monusac, prepare_monuseg
from monch_monai.datasets.aperio import find_fields, read_field, read_regions
from monch_monai.errors import InputError
from tests.fakes.fields import WHITE, aperio, picture, square, write_svs, write_tiff, write_xml
from tests.fakes.tiny import contents

SIZE = 300
BIG, INNER, CUT = square(20, 20, 60), square(40, 40, 10), square(290, -5, 20)
BOW_TIE = [(100, 100), (140, 140), (140, 100), (100, 140)]
"""Crosses itself: two triangles, left and right of (120, 120)."""
LINE, POINTS, AWAY = [(5, 5), (9, 9), (7, 7)], [(1, 1), (2, 2)], square(900, 900, 10)
REGIONS = [INNER, BIG, CUT, BOW_TIE, LINE, POINTS, AWAY]
TRAINING = ("TCGA-18-5592-01Z-00-DX1", "TCGA-G9-6336-01Z-00-DX1", "TCGA-G9-6356-01Z-00-DX1")
TEST = "TCGA-2Z-A9J9-01A-01-TS1"
HELD_OUT = "TCGA-G9-6336"


def write_monuseg(root):
    for name in TRAINING:
        part = root / "MoNuSeg 2018 Training Data"
        write_tiff(part / "Tissue Images" / f"{name}.tif", picture(SIZE, SIZE, REGIONS[1:3]))
        write_xml(part / "Annotations" / f"{name}.xml", {None: REGIONS})
    write_tiff(root / "MoNuSegTestData" / f"{TEST}.tif", picture(SIZE, SIZE, [BIG]))
    write_xml(root / "MoNuSegTestData" / f"{TEST}.xml", {None: [BIG]})
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / f"._{TEST}.tif").write_bytes(b"no picture")
    return root


SMALL, LARGE = "TCGA-2Z-A9JG-01Z-00-DX1_1", "TCGA-55-7570-01Z-00-DX1_1"
TYPED = {
    "Epithelial": [square(10, 10, 12)],
    "Lymphocyte": [square(40, 10, 8)],
    "Neutrophil": [square(60, 10, 8)],
    "Macrophage": [square(10, 30, 16)],
    "Ambiguous": [square(70, 2, 6)],
}
UNLABELLED = square(130, 80, 10)


def write_monusac(root):
    """A field as TIFF of 50x86 px, and one as SVS of 200x300 with a nucleus that nobody labelled."""
    every = [region for regions in TYPED.values() for region in regions]
    folder = root / "MoNuSAC_images_and_annotations"
    write_tiff(folder / SMALL[:23] / f"{SMALL}.tif", picture(50, 86, every, WHITE))
    write_svs(folder / SMALL[:23] / f"{SMALL}.svs", picture(64, 64))  # the TIFF comes first
    write_xml(folder / SMALL[:23] / f"{SMALL}.xml", TYPED)
    write_svs(folder / LARGE[:23] / f"{LARGE}.svs", picture(200, 300, [*every, UNLABELLED], WHITE))
    write_xml(folder / LARGE[:23] / f"{LARGE}.xml", TYPED)
    return root


@pytest.fixture(scope="module")
def monuseg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monuseg")
    return prepare_monuseg(write_monuseg(folder / "source"), folder / "prepared", HELD_OUT)


@pytest.fixture(scope="module")
def monusac(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monusac")
    return prepare_monusac(write_monusac(folder / "source"), folder / "prepared", SMALL)


def tiles_of(folder, fold):
    return list(read_tiles(folder / fold, Tiles(folder).vocabulary.names))


def refusal(prepare, root, validation=HELD_OUT):
    with pytest.raises(InputError) as caught:
        prepare(root, root.parent / "refused", validation)
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in root.parent.iterdir()] == [root.name]
    return str(caught.value)


def monuseg_field():
    expected = np.zeros((SIZE, SIZE), int)
    expected[20:80, 20:80] = 1
    expected[40:50, 40:50] = 2
    expected[0:15, 290:300] = 3
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    in_height = (rows > 100) & (rows < 140)
    bow_tie = in_height & (abs(columns - 120) < 20) & (abs(rows - 120) < abs(columns - 120))
    expected[bow_tie] = 4
    edge = in_height & (abs(abs(rows - 120) - abs(columns - 120)) < 0.1)
    return expected, edge


def test_overlapping_crossing_and_cut_regions_are_drawn_as_they_are(monuseg):
    tile = tiles_of(monuseg, "validation_512")[0]
    expected, edge = monuseg_field()
    got = tile.instances[:SIZE, :SIZE]
    inside = ~edge
    assert len(np.unique(got)) == 5
    for number in range(5):
        (value,) = np.unique(got[inside & (expected == number)])
        assert ((got == value) == (expected == number))[inside].all()
    assert np.array_equal(tile.classes[:SIZE, :SIZE] > 0, got > 0)
    assert tile.classes.max() == 255
    assert np.unique(tile.classes[:SIZE, :SIZE]).tolist() == [0, 1]


def test_the_card_counts_what_was_left_out_and_lists_the_split(monuseg):
    card = (monuseg / "card.md").read_text()
    assert "6 regions without an area, left out" in card
    assert "3 regions outside their picture or under others" in card
    assert "- train: 2 fields of 2 patients: TCGA-18-5592, TCGA-G9-6356\n" in card
    assert f"- validation: 1 fields of 1 patients: {HELD_OUT}\n" in card
    assert "- test: 1 fields of 1 patients: TCGA-2Z-A9J9\n" in card


def test_a_nucleus_of_monuseg_is_of_any_class(monuseg):
    vocabulary = Tiles(monuseg).vocabulary
    assert vocabulary.names == ["background", "nucleus"]
    assert len(vocabulary.labels[1][1]) == 5


def test_the_test_zip_is_the_test_part(monuseg):
    tiles = Tiles(monuseg)
    assert tiles.splits == {"1": {"train": ["train"], "validation": ["validation_512"], "test": ["test_512"]}}
    assert [item["source"] for item in tiles.items(["test_512"])] == [TEST]
    assert tiles.folds == {"train": 8, "validation_512": 1, "test_512": 1}
    assert {item["tissue"] for item in tiles.items(["train"])} == {"Lung", "Prostate"}


def test_a_folder_that_only_sounds_like_a_test_is_for_training(tmp_path):
    for folder in ("latest", "Contest"):
        write_tiff(tmp_path / folder / f"{folder}.tif", picture(40, 40))
        write_xml(tmp_path / folder / f"{folder}.xml", {})
    assert [field.for_test for field in find_fields(tmp_path, read_field)] == [False, False]


def test_training_fields_of_the_test_part_s_patients_are_left_out(tmp_path, capsys):
    root = write_monuseg(tmp_path / "source")
    test = root / "MoNuSegTestData"
    for suffix in (".tif", ".xml"):
        (test / f"{TEST}{suffix}").rename(test / f"{TRAINING[0][:12]}-test{suffix}")
    tiles = Tiles(prepare_monuseg(root, tmp_path / "out", HELD_OUT))
    assert {item["source"].split()[0] for item in tiles.items(["train"])} == {TRAINING[2]}
    assert f"left out, since their patients are in the test part: {TRAINING[0]}" in capsys.readouterr().out


def test_the_same_source_gives_the_same_bytes(tmp_path, monuseg):
    again = prepare_monuseg(write_monuseg(tmp_path / "source"), tmp_path / "out", HELD_OUT)
    arrays = {path: data for path, data in contents(monuseg).items() if path.endswith((".npy", ".csv"))}
    assert {path: contents(again)[path] for path in arrays} == arrays


def test_annotations_of_monusac_have_their_labels(monusac):
    (tile,) = tiles_of(monusac, "validation_256")
    names = Tiles(monusac).vocabulary.names
    for kind, [corners] in TYPED.items():
        (x, y), (right, bottom) = corners[0], corners[2]
        (value,) = np.unique(tile.classes[y:bottom, x:right])
        assert (value == 255) if kind in ("Macrophage", "Ambiguous") else names[value] == kind.lower()
        assert len(np.unique(tile.instances[y:bottom, x:right])) == 1
    assert tile.instances.max() == 5
    assert dict(Tiles(monusac).vocabulary.labels)["epithelial"] == ("neoplastic", "epithelial")


def test_the_svs_is_read_where_there_is_no_tiff(monusac):
    tiles = tiles_of(monusac, "train")
    assert [tile.source for tile in tiles] == [f"{LARGE} x=0 y=0", f"{LARGE} x=44 y=0"]
    shown = [*(region for [region] in TYPED.values()), UNLABELLED]
    assert np.array_equal(tiles[1].image[:200], picture(200, 300, shown, WHITE)[:, 44:])


def test_a_nucleus_that_nobody_labelled_is_no_background(monusac):
    tile = tiles_of(monusac, "train")[0]
    assert (tile.classes[80:90, 130:140] == 255).all()
    assert not tile.instances[80:90, 130:140].any()
    assert (tile.classes[150:190, 40:240] == 0).all()


def test_manifests_state_name_and_licence(monuseg, monusac):
    for folder, name in ((monuseg, "MoNuSeg"), (monusac, "MoNuSAC")):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["name"] == name
        assert manifest["license"].startswith("CC BY-NC-SA 4.0")


@pytest.fixture
def source(tmp_path):
    return write_monuseg(tmp_path / "work" / "source")


def labels(source):
    return source / "MoNuSeg 2018 Training Data" / "Annotations" / f"{TRAINING[0]}.xml"


def image(source):
    return source / "MoNuSeg 2018 Training Data" / "Tissue Images" / f"{TRAINING[0]}.tif"


def test_no_folder_and_no_picture_are_refused(tmp_path):
    (tmp_path / "work" / "source").mkdir(parents=True)
    assert "holds no picture (.tif, .tiff, .svs)" in refusal(prepare_monuseg, tmp_path / "work" / "source")
    with pytest.raises(InputError, match="is not a folder: give the folder with the unpacked zips"):
        prepare_monuseg(tmp_path / "absent", tmp_path / "out")


def test_a_picture_without_labels_is_refused(source):
    labels(source).unlink()
    assert f"{TRAINING[0]}.tif has no labels: {TRAINING[0]}.xml is nowhere beneath" in refusal(prepare_monuseg, source)


def test_labels_without_a_picture_are_refused(source):
    image(source).unlink()
    assert f"{TRAINING[0]}.xml has no picture: {TRAINING[0]}.tif is nowhere beneath" in refusal(prepare_monuseg, source)


def test_two_pictures_of_one_name_are_refused(source):
    (source / "copy").mkdir()
    (source / "copy" / image(source).name).write_bytes(image(source).read_bytes())
    assert f"two files are named {TRAINING[0]}.tif" in refusal(prepare_monuseg, source)


def test_a_damaged_picture_is_refused(source):
    os.truncate(image(source), 5000)
    assert str(image(source)) in refusal(prepare_monuseg, source)


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Annotations>&b;</Annotations>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "it has a document type"),
        (BOMB.encode("utf-16"), "it has a document type"),
        (aperio({None: REGIONS})[:-30], "unclosed token"),
        ("", "no element found"),
        ("<ASAP_Annotations/>", "its root is ASAP_Annotations"),
        ("<Annotations>\x00</Annotations>", "not well-formed"),
        (aperio({None: [[("a", 1), (2, 2), (3, 1)]]}), "could not convert string to float: 'a'"),
        (aperio({None: [[("nan", 1), (2, 2), (3, 1)]]}), "a point of it lies at nan"),
        (aperio({None: [[("1e300", 1), (2, 2), (3, 1)]]}), "a point of it lies at 1e+300"),
        (aperio({None: [BIG]}).replace(' Y="20"', ""), "'Y'"),
        ('<?xml version="1.0" encoding="bogus"?><Annotations/>', "unknown encoding: bogus"),
    ],
)
def test_damaged_xml_is_refused(source, text, said):
    labels(source).write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(prepare_monuseg, source)
    assert message.startswith(f"{labels(source)} cannot be read as Aperio's XML (")
    assert said in message


def test_a_source_without_a_nucleus_to_train_on_is_refused(source):
    for path in source.rglob("*.xml"):
        path.write_text(aperio({None: []}))
    assert "fields left for training has a nucleus whose label counts: look" in refusal(prepare_monuseg, source)


def test_utf_16_is_read(tmp_path):
    text = '<?xml version="1.0" encoding="utf-16"?>' + aperio({None: [BIG]})
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    assert [region.polygon.area for region in read_regions(tmp_path / "a.xml")] == [3600]


def test_an_annotation_of_another_name_is_refused(tmp_path):
    root = write_monusac(tmp_path / "work" / "source")
    write_xml(next(root.rglob(f"{SMALL}.xml")), {**TYPED, "Stroma": [BIG]})
    assert "has regions of 'Stroma'; expected epithelial, lymphocyte" in refusal(prepare_monusac, root, SMALL)


def test_an_annotation_of_another_name_without_regions_is_nothing(tmp_path):
    write_xml(tmp_path / "a.xml", {**TYPED, "": []})
    assert len(read_regions(tmp_path / "a.xml", [name.lower() for name in TYPED])) == 5


def test_an_svs_that_is_no_slide_or_a_whole_slide_is_refused(tmp_path):
    write_xml(tmp_path / "a.xml", TYPED)
    read = partial(read_field, tmp_path / "a.svs", tmp_path / "a.xml", 1)
    (tmp_path / "a.svs").write_bytes(b"no slide")
    with pytest.raises(InputError, match=r"a\.svs cannot be read as a slide \(.*\): fetch it again"):
        read()
    write_svs(tmp_path / "a.svs", picture(64, 4200))
    with pytest.raises(InputError, match=r"a\.svs is of 4200x64 px; a field has 32 to 4096 px a side"):
        read()


def test_bgr_pictures_are_refused(source):
    for path in source.rglob("T*.tif"):
        Image.fromarray(np.asarray(Image.open(path))[..., ::-1].copy()).save(path)
    with pytest.raises(InputError, match="the images look BGR"):
        prepare_monuseg(source, source.parent / "out", HELD_OUT)
    assert [path.name for path in source.parent.iterdir()] == ["source"]
