"""Slides segmented by a network of other classes than PanNuke's."""

import csv
import json

import numpy as np
import openslide
import pyarrow.parquet as pq
import pytest
from PIL import Image

from monch_monai.class_table import ClassTable, NucleusClass
from monch_monai.cohort import Cohort
from monch_monai.errors import InputError
from monch_monai.predict import Prediction
from tests.cohort.reading_back import segment, segmenter
from tests.fakes.labels import some_classes
from tests.fakes.slides import Nucleus, colours, paint, write_slide

KINDS = {"background": None, "tumour cell": "neoplastic", "T cell": "inflammatory", "plasma cell": "inflammatory"}
TABLE = ClassTable(
    "kinds",
    tuple(
        NucleusClass(i, name, (9 * i, 200 - i, 40 * i), tuple(f"{name}, {n}." for n in "abc"), (), parent)
        for i, (name, parent) in enumerate(KINDS.items())
    ),
)
NUCLEI = [Nucleus(40 + 50 * i, 60, 9, index) for i, index in enumerate((1, 1, 2, 3, 3, 3))]
SIZE = (520, 400)


class Reads:
    """Reads colours as the first classes of a table."""

    def __init__(self, class_table):
        self.class_table, self.tiles = class_table, 0

    def __call__(self, tiles):
        self.tiles += len(tiles)
        found, number = colours(tiles), len(self.class_table)
        class_map = np.where(found.class_map < number, found.class_map, 0)
        return Prediction.of_classes(class_map, found.probs[:, : number - 1])


@pytest.fixture
def slide(tmp_path):
    return write_slide(tmp_path / "s.tif", paint(NUCLEI, SIZE))


def test_every_file_of_a_slide_has_its_classes(slide, tmp_path):
    Cohort(slide, tmp_path / "out", segmenter(tmp_path / "out", Reads(TABLE))).run()
    folder = tmp_path / "out" / "s"
    table = pq.read_table(folder / "nuclei.parquet")
    names = [TABLE.names[n.index] for n in NUCLEI]
    assert table.sort_by("x")["class_name"].to_pylist() == names
    assert [name for name in table.column_names if name.startswith("prob_")] == [f"prob_{c.name}" for c in TABLE.nuclei]
    collection = json.loads((folder / "nuclei.geojson").read_text(encoding="utf-8"))
    found = {
        f["properties"]["classification"]["name"]: f["properties"]["classification"]["color"]
        for f in collection["features"]
    }
    assert found == {c.name: list(c.color) for c in TABLE.nuclei}
    assert collection["monch"]["classes"] == TABLE.names
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["nuclei"] == {"tumour cell": 2, "T cell": 1, "plasma cell": 3}
    assert summary["settings"]["class_table"] == TABLE.to_dict()
    assert summary["ratios"]["tumour_infiltration"] == 2  # kinds of inflammatory cells count together
    with openslide.OpenSlide(folder / "classes.ome.tif") as file:
        for n in NUCLEI:
            pixel = file.read_region((int(n.x), int(n.y)), 0, (1, 1)).getpixel((0, 0))
            assert pixel[:3] == TABLE.classes[n.index].color
    drawn = np.asarray(Image.open(folder / "thumbnail.png")).reshape(-1, 3)
    assert all((drawn == c.color).all(axis=1).any() for c in TABLE.nuclei)
    with (tmp_path / "out" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[name] for name in TABLE.names[1:]] == ["2", "1", "3"]
    assert "neoplastic" not in row


def test_ratios_of_what_a_table_has_no_class_of_are_none(slide, tmp_path):
    segment(slide, tmp_path / "out", Reads(some_classes(3)))
    summary = json.loads((tmp_path / "out" / "s" / "summary.json").read_text(encoding="utf-8"))
    assert summary["nuclei"] == {"class 1": 2, "class 2": 1}
    assert set(summary["ratios"].values()) == {None}


def test_results_of_another_class_table_are_left_alone(slide, tmp_path):
    segment(slide, tmp_path / "out", Reads(TABLE))
    again = Reads(TABLE)
    segment(slide, tmp_path / "out", again)
    assert again.tiles == 0
    with pytest.raises(InputError, match="was made with another class_table: remove it"):
        segment(slide, tmp_path / "out", Reads(some_classes(len(TABLE))))


def test_what_another_class_table_began_is_begun_anew(tmp_path):
    nuclei = [Nucleus(x, y, 9, 1 + (x + y) // 60 % 3) for x in range(40, 1000, 60) for y in range(40, 800, 60)]
    slide = write_slide(tmp_path / "s.tif", paint(nuclei, (1030, 820)))
    begun = Reads(TABLE)

    def half(tiles):
        if begun.tiles > 14:
            raise InputError("stop")
        return begun(tiles)

    half.class_table = TABLE
    with pytest.raises(InputError, match="stop"):
        segment(slide, tmp_path / "out", half)
    assert list((tmp_path / "out" / ".s.partial" / "regions").glob("*.parquet"))
    found = segment(slide, tmp_path / "out", Reads(some_classes(3)))
    assert found.equals(segment(slide, tmp_path / "whole", Reads(some_classes(3))))
    assert set(found["class_name"].to_pylist()) == {"class 1", "class 2"}


def test_given_nuclei_get_its_classes(slide, tmp_path):
    rings = [[[n.x - 6, 54], [n.x + 6, 54], [n.x + 6, 66], [n.x - 6, 66], [n.x - 6, 54]] for n in NUCLEI]
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    (tmp_path / "given.geojson").write_text(json.dumps(features))
    found = segment(slide, tmp_path / "out", Reads(TABLE), nuclei=tmp_path / "given.geojson")
    assert found.sort_by("source")["class_name"].to_pylist() == [TABLE.names[n.index] for n in NUCLEI]
