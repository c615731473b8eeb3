import ast
import copy
import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import shapely

from monch_monai.class_table import PANNUKE
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
