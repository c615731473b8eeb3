import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Level0Box, Mpp, Size, working_grid
from monch_monai.predict import Prediction
from monch_monai.segmentation import FoundNuclei, find_nuclei
from monch_monai.writers import GeoJsonFile, ParquetFile
from tests.fakes.labels import some_classes
from tests.fakes.sources import source_of

SIZE = 2300
"""More than a region, so that nuclei lie on a seam."""


def found(*discs, size=SIZE, number=6):
    """Nuclei of discs (x, y, radius, class) whose network is sure of them to three quarters, among `number` classes."""
    class_map = np.zeros((size, size), np.uint8)
    y, x = np.mgrid[:size, :size] + 0.5
    for cx, cy, radius, c in discs:
        class_map[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = c
    probs = np.stack([class_map == c for c in range(1, number)]) * np.float16(0.75)
    grid = working_grid(Size(size, size), Mpp(0.25, 0.25))
    return class_map, find_nuclei(
        Prediction.of_classes(class_map, probs), grid, FoundNuclei(), Level0Box(0, 0, size, size)
    )


def read(path, table, class_table=PANNUKE):
    with GeoJsonFile(path, source_of(class_table)) as file:
        file.add(table)
    return json.loads(path.read_text(encoding="utf-8"))


def test_nuclei_of_an_image_are_numbered_alike_in_geojson_table_and_instance_map(tmp_path):
    class_map, nuclei = found((20, 30, 9, 1), (70, 60, 9, 4), (2048, 1000, 12, 2))
    collection = read(tmp_path / "a.geojson", nuclei.table)
    assert (collection["type"], collection["monch"]) == ("FeatureCollection", source_of(PANNUKE).about)
    assert len(collection["features"]) == len(nuclei.classes) == nuclei.instance_map.max() == 3
    assert np.array_equal(nuclei.instance_map > 0, class_map > 0)
    for i, (feature, c) in enumerate(zip(collection["features"], nuclei.classes, strict=True), start=1):
        shape = shapely.geometry.shape(feature["geometry"])
        pixels = (nuclei.instance_map == i).sum()
        assert (class_map[nuclei.instance_map == i] == c).all()
        assert shape.is_valid
        assert shape.area == pixels
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"] == {
            "name": PANNUKE.classes[c].name,
            "color": list(PANNUKE.classes[c].color),
        }
        measured = properties["measurements"]
        assert measured.pop("Circularity") == pytest.approx(1, abs=0.1)
        assert measured == {"Nucleus id": i, "Mean probability": 0.75, "Area µm^2": pixels / 16}
        first, *_, last = feature["geometry"]["coordinates"][0]
        assert first == last


def test_no_nuclei_make_an_empty_collection(tmp_path):
    _, nuclei = found(size=64)
    assert read(tmp_path / "a.geojson", nuclei.table)["features"] == []
    assert not nuclei.instance_map.any()


def test_files_have_the_names_colours_and_probabilities_of_the_networks_own_classes(tmp_path):
    class_table = some_classes(4)
    _, nuclei = found((20, 30, 9, 3), (40, 60, 9, 1), size=90, number=4)
    features = read(tmp_path / "a.geojson", nuclei.table, class_table)["features"]
    assert [feature["properties"]["classification"] for feature in features] == [
        {"name": "class 3", "color": [30, 252, 9]},
        {"name": "class 1", "color": [10, 254, 3]},
    ]
    with ParquetFile(tmp_path / "a.parquet", source_of(class_table)) as file:
        file.add(nuclei.table)
    written = pq.read_table(tmp_path / "a.parquet")
    assert written["class_name"].to_pylist() == ["class 3", "class 1"]
    assert {name: written[name].to_pylist() for name in written.column_names if name.startswith("prob")} == {
        "prob_class 1": [0, 0.75], "prob_class 2": [0, 0], "prob_class 3": [0.75, 0],
    }  # fmt: skip
    assert written["mean_prob"].to_pylist() == [0.75, 0.75]


@pytest.mark.parametrize("number", [2, 4, 25])
def test_a_file_of_no_nuclei_has_the_same_columns(tmp_path, number):
    names = []
    for discs in ((), ((20, 30, 9, 1),)):
        with ParquetFile(tmp_path / "a.parquet", source_of(some_classes(number))) as file:
            file.add(found(*discs, size=64, number=number)[1].table)
        written = pq.read_table(tmp_path / "a.parquet")
        assert written.num_rows == len(discs)
        names.append(written.schema)
    assert names[0].equals(names[1])
