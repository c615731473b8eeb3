"""Nuclei given as boxes, in the plain layout, made by code."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from monch_monai.__main__ import Commands
from monch_monai.class_table import PANNUKE
from monch_monai.data import Tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets import prepare_plain
from monch_monai.datasets.boxes import Box, draw_ellipses, read_boxes
from monch_monai.datasets.type_table import any_nucleus, read_type_table
from monch_monai.errors import InputError
from tests.datasets.test_plain import refusal
from tests.fakes.fields import picture, square

HEADER = "field,x0,y0,x1,y1,class,mitosis\n"
CLASSES = "value,class\ntumour,neoplastic\napoptosis,dead\nother,any\ndoubtful,ignore\n"
ROWS = "a,20,20,60,60,tumour,0\na,100,30,140,50,apoptosis,1\na,-20,80,20,120,other,0\na,180,20.5,200,41.5,doubtful,0\n"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "work" / "source"
    (root / "images").mkdir(parents=True)
    for name in "abc":
        nuclei = [square(25, 25, 30), square(110, 35, 10), square(0, 90, 15), square(185, 25, 10)]
        Image.fromarray(picture(160, 260, nuclei)).save(root / "images" / f"{name}.png")
    (root / "classes.csv").write_text(CLASSES)
    (root / "boxes.csv").write_text(HEADER + ROWS + ROWS.replace("a,", "b,"))
    return root


def drawn(*boxes, size=(160, 260)):
    return draw_ellipses([Box(*corners, kind, "here") for *corners, kind in boxes], size)


@pytest.mark.parametrize("box", [(20, 30, 81, 73), (20.5, 30.25, 140, 50.75), (3, 3, 157, 150)])
def test_a_box_becomes_the_ellipse_inscribed_in_it(box):
    x0, y0, x1, y1 = box
    instances, types, oddities = drawn((*box, 7))
    rows, columns = np.nonzero(instances)
    assert len(rows) == pytest.approx(math.pi / 4 * (x1 - x0) * (y1 - y0), rel=0.01)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=0.1)
    assert x0 <= columns.min() + 0.5
    assert y0 <= rows.min() + 0.5
    assert columns.max() + 0.5 <= x1
    assert rows.max() + 0.5 <= y1
    assert np.array_equal(types, 7 * instances)
    assert not any(oddities.values())


def test_of_a_box_over_the_border_the_part_within_the_picture_is_drawn():
    whole, _, _ = drawn((100, 60, 140, 90, 1))
    for dx, dy in ((-120, 0), (140, 0), (0, -75), (0, 85), (-115, -70)):
        moved, _, _ = drawn((100 + dx, 60 + dy, 140 + dx, 90 + dy, 1))
        expected = np.zeros((480, 780), np.int32)
        expected[160 + dy : 320 + dy, 260 + dx : 520 + dx] = whole
        assert np.array_equal(moved, expected[160:320, 260:520])
    half, _, _ = drawn((-20, 60, 20, 90, 1))
    assert np.count_nonzero(half) * 2 == np.count_nonzero(whole)


def test_of_boxes_that_overlap_the_smaller_is_whole():
    large, small, inner = (20, 20, 120, 120, 1), (100, 60, 140, 80, 2), (60, 60, 70, 70, 3)
    alone = [drawn(box)[0] > 0 for box in (large, small, inner)]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        instances, types, oddities = drawn(*((large, small, inner)[i] for i in order))
        assert np.array_equal(types == 2, alone[1])
        assert np.array_equal(types == 3, alone[2])
        assert np.array_equal(types == 1, alone[0] & ~alone[1] & ~alone[2])
        assert np.array_equal(np.unique(instances), range(4))
        assert not any(oddities.values())


def test_boxes_under_others_or_of_no_pixel_are_counted():
    _, _, oddities = drawn((20, 20, 40, 40, 1), (20, 20, 40, 40, 1), (50.6, 50.6, 50.9, 50.9, 1))
    assert oddities == {"boxes under smaller ones or of no pixel, left out": 2}


def test_boxes_are_prepared_with_their_classes(source, tmp_path):
    Commands().prepare_plain(str(source), str(tmp_path / "out"), validation="b")
    tiles = Tiles(tmp_path / "out")
    assert tiles.vocabulary.names[1:] == ["neoplastic", "dead", "any nucleus"]
    (tile,) = read_tiles(tmp_path / "out" / "validation_512", tiles.vocabulary.names)
    numbers = [int(tile.classes[y, x]) for x, y in ((40, 40), (120, 40), (5, 100), (190, 30))]
    assert numbers == [1, 2, 3, 255]
    areas = np.bincount(tile.instances.ravel())[1:]
    assert areas == pytest.approx(math.pi / 4 * np.array([1600, 800, 800, 420]), rel=0.03)
    assert Tiles(tmp_path / "out").folds == {"train": 4, "validation_512": 1}


def test_boxes_are_not_exhaustive_unless_stated(source, tmp_path):
    for exhaustive, expected in ((None, 255), (True, 0)):
        out = prepare_plain(source, tmp_path / f"{exhaustive}", exhaustive=exhaustive, validation="b")
        (tile,) = read_tiles(out / "validation_512", Tiles(out).vocabulary.names)
        assert {int(v) for v in np.unique(tile.classes[54:58, 54:58])} == {expected}  # beside a nucleus
        stated = json.loads((out / "manifest.json").read_text())["labels"]
        assert stated.startswith("ellipses in boxes, " + ("not exhaustive: " if expected else "by the source"))


def test_ellipses_are_resampled_with_their_picture(source, tmp_path):
    out = prepare_plain(source, tmp_path / "out", mpp=0.125, validation="b")
    (tile,) = read_tiles(out / "validation_256", Tiles(out).vocabulary.names)
    assert np.count_nonzero(tile.classes == 1) == pytest.approx(math.pi / 4 * 400, rel=0.03)
    assert tile.classes[20, 20] == 1


def test_what_is_to_be_ignored_is_ignored_in_boxes_too(source, tmp_path):
    (source / "ignore").mkdir()
    ignored = np.zeros((160, 260), np.uint8)
    ignored[:, :130] = 1
    Image.fromarray(ignored).save(source / "ignore" / "b.png")
    out = prepare_plain(source, tmp_path / "out", validation="b")
    (tile,) = read_tiles(out / "validation_512", Tiles(out).vocabulary.names)
    assert set(np.unique(tile.classes[:, :130])) == {255}
    assert 2 in tile.classes


def test_boxes_without_classes_are_of_any_nucleus(source, tmp_path):
    (source / "classes.csv").unlink()
    assert "boxes.csv has a column class, but no classes.csv beside it" in refusal(source)
    rows = "".join(f"{name},20,20,60,60\n" for name in "ab")
    (source / "boxes.csv").write_text("field,x0,y0,x1,y1\n" + rows)
    assert Tiles(prepare_plain(source, tmp_path / "out", validation="b")).vocabulary.names[1:] == ["any nucleus"]


def test_classes_of_boxes_may_be_yaml_and_numbers(source):
    (source / "boxes.csv").write_text("class,field,x0,y0,x1,y1\n12,a,20,20,60,60\n300,b,1,2,3,4\n")
    (source / "classes.yaml").write_text("300: dead\n12: neoplastic|epithelial\n")
    types = read_type_table(source / "classes.yaml", PANNUKE, texts=True)
    boxes = read_boxes(source / "boxes.csv", "abc", types)
    assert [types.vocabulary.names[types.label_of[box.type]] for box in boxes["a"] + boxes["b"]] == [
        "neoplastic or epithelial",
        "dead",
    ]
    assert boxes["c"] == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,5,5,5,9,tumour,0", "line 7, has a box from x 5 to 5 and from y 5 to 9: give x0 below x1 and y0 below y1"),
        ("a,5,9,9,5,tumour,0", "line 7, has a box from x 5 to 9 and from y 9 to 5"),
        ("a,5,5,x,9,tumour,0", "line 7, has the x1 'x': give a number of px"),
        ("a,,5,9,9,tumour,0", "line 7, has the x0 '': give a number"),
        ("a,nan,5,9,9,tumour,0", "line 7, has the x0 'nan'"),
        ("a,5,5,inf,9,tumour,0", "line 7, has the x1 'inf'"),
        ("a,5,5,9,1e300,tumour,0", "line 7, has the y1 '1e300'"),
        ("a,5,5,9,9,Tumour,0", "line 7, has the class 'Tumour'; "),
        ("a,5,5,9,9,,0", "line 7, has the class ''; "),
        ("a.png,5,5,9,9,tumour,0", "line 7, has the field 'a.png', of which there is no picture"),
        ("a,5,5,9,9,tumour", "has 6 cells in line 7 ('a,5,5,9,9,tumour'), and 7 columns"),
        ("a,260,5,270,9,tumour,0", "line 7, has a box outside its picture, which is of 260x160 px"),
        ("a,5,-9,9,0,tumour,0", "line 7, has a box outside its picture"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_line(source, row, said):
    (source / "boxes.csv").write_text(f"{HEADER}{ROWS}\n{row}\na,1,1,2,2,tumour,0\n")  # line 6 is empty
    message = refusal(source)
    assert message.startswith(str(source / "boxes.csv"))
    assert said in message


def test_a_table_of_boxes_beside_maps_of_nuclei_or_types_is_refused(source):
    for kind in ("instances", "types"):
        (source / kind).mkdir()
        assert f"has boxes.csv and {kind}/: nuclei are given by one or the other, so remove one" in refusal(source)
        (source / kind).rmdir()


def test_a_table_of_boxes_that_cannot_be_read_is_refused(source):
    (source / "boxes.csv").write_text("field,x0,y0,x1,class\na,1,1,2,tumour\n")
    assert "boxes.csv has no column 'y1': it needs the columns field and x0 and y0" in refusal(source)
    (source / "boxes.csv").write_text("field,x0,y0,x1,y1\na,1,1,2,2\n")
    assert "boxes.csv has no column 'class'" in refusal(source)
    (source / "boxes.csv").write_text(HEADER)
    assert "has a nucleus whose label counts" in refusal(source)
    (source / "boxes.csv").unlink()
    (source / "boxes.csv").mkdir()
    assert "boxes.csv cannot be read as CSV" in refusal(source)
    (source / "boxes.csv").rmdir()
    assert "has no folder instances: give a folder with images/ and instances/ (or boxes.csv)" in refusal(source)


def test_more_boxes_or_classes_than_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("monch_monai.datasets.boxes.MOST_NUCLEI", 3)
    (tmp_path / "boxes.csv").write_text("field,x0,y0,x1,y1\n" + "a,1,1,2,2\n" * 4)
    with pytest.raises(InputError, match=r"line 5, is the 4th box of its field; at most 3 fit"):
        read_boxes(tmp_path / "boxes.csv", "a", any_nucleus(PANNUKE))
    (tmp_path / "classes.csv").write_text("value,class\n" + "".join(f"t{i},any\n" for i in range(256)))
    with pytest.raises(InputError, match="has more than 255 values: give fewer"):
        read_type_table(tmp_path / "classes.csv", PANNUKE, texts=True)
