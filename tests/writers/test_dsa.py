import ast
import copy
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import LevelBox
from monch_monai.slides import open_slide
from tests.fakes.slides import write_mirax
from tests.fakes.sources import in_pieces, nuclei_at, scattered, source_of
from tests.writers.reading import written

SCHEMA = Path(__file__).with_name("large_image_annotation.json")
"""Schema of annotations of girder-large-image-annotation 1.35.6 (Apache-2.0), as JSON."""


def annotation(folder, source, tables):
    return json.loads(written("dsa", folder, source, tables).read_text(encoding="utf-8"))


@pytest.mark.parametrize("tables", [[], [scattered(1)], in_pieces(scattered(60), 7)], ids=["none", "one", "many"])
def test_it_is_valid_by_the_schema_of_large_image(tmp_path, tables):
    made = annotation(tmp_path, source_of(), tables)
    jsonschema.Draft6Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(made)
    assert len(made["elements"]) == sum(table.num_rows for table in tables)


def test_coordinates_are_of_what_large_image_shows(tmp_path):
    about = {**source_of().about, "origin_in_file": [30, 20]}
    drawn = []
    for shown_from in ((0, 0), (30, 20)):
        made = annotation(
            tmp_path, replace(source_of(), about=about, shown_from=shown_from), [nuclei_at([(9, 7)], [1])]
        )
        drawn.append(shapely.Polygon(made["elements"][0]["points"]))
    cut, whole = drawn
    assert cut.equals(shapely.from_wkb(nuclei_at([(9, 7)], [1])["geometry"][0].as_py()))
    assert whole.equals_exact(shapely.affinity.translate(cut, 30, 20), 1e-9)
    assert made["attributes"]["monch"]["origin_in_file"] == [0, 0]


@pytest.mark.slow
def test_large_image_shows_the_part_that_was_scanned_as_level_0(tmp_path):
    large_image = pytest.importorskip("large_image_source_openslide")
    rows, columns = np.mgrid[:128, :192]
    scanned = np.stack([200 - rows, 60 + columns // 2, 90 + rows // 2], axis=2).astype(np.uint8)
    ours = open_slide(write_mirax(tmp_path / "slide.mrxs", scanned, at=(4, 3)))
    shown = large_image.open(str(tmp_path / "slide.mrxs"))
    assert (shown.sizeX, shown.sizeY) == ours.size
    box = LevelBox(70, 50, 100, 60)
    pixels, _ = shown.getRegion(region={"left": 70, "top": 50, "width": 100, "height": 60}, format="numpy")
    assert np.array_equal(pixels[..., :3], ours.read(0, box))


@pytest.mark.slow
def test_the_schema_is_that_of_the_package(tmp_path):
    package = find_spec("girder_large_image_annotation")
    if package is None:
        pytest.skip("needs pip install --no-deps girder-large-image-annotation")
    # The class that holds the schema, without its module, which needs a database.
    module = ast.parse((Path(package.origin).parent / "models" / "annotation.py").read_text(encoding="utf-8"))
    parts = [node for node in module.body if getattr(node, "name", "") in ("extendSchema", "AnnotationSchema")]
    made: dict = {"copy": copy}
    exec(compile(ast.Module(parts, []), "annotation.py", "exec"), made)
    of_package = made["AnnotationSchema"].annotationSchema
    jsonschema.Draft6Validator(of_package).validate(annotation(tmp_path, source_of(), [scattered(200)]))


def test_an_element_has_its_class_colour_and_numbers(tmp_path):
    made = annotation(tmp_path, source_of(), [nuclei_at([(100, 50)], [2])])
    (element,) = made["elements"]
    assert element["group"] == element["label"]["value"] == "inflammatory"
    assert element["lineColor"] == "rgb({}, {}, {})".format(*PANNUKE.classes[2].color)
    assert element["closed"] is True
    assert element["user"]["prob_inflammatory"] == 0.75
    assert element["user"]["nucleus_id"] == 1
    assert made["attributes"]["monch"]["weights_sha256"] == ["ab" * 32]


def test_holes_are_kept_and_of_several_parts_the_largest_is_drawn(tmp_path):
    ring = shapely.Point(100, 100).buffer(10).difference(shapely.Point(100, 100).buffer(4))
    parts = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(10, 10, 30, 20)])
    made = annotation(tmp_path, source_of(), [nuclei_at([(100, 100), (20, 15)], [1, 1], polygons=[ring, parts])])
    holed, several = made["elements"]
    assert shapely.Polygon(holed["points"], holed["holes"]).area == pytest.approx(ring.area, rel=1e-2)
    assert shapely.Polygon(several["points"]).equals(shapely.box(10, 10, 30, 20))
