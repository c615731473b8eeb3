import json
from dataclasses import replace

import pytest
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.label.annotations import Outline, read_annotations
from tests.fakes.labels import some_classes

SQUARE = [(2, 3), (6, 3), (6, 9), (2, 9)]


def asap(*annotations: tuple[str, list], box: str = 'X="0" Y="0" W="0" H="0"') -> str:
    text = "".join(
        f'<Annotation Name="{name}"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))
        + "</Coordinates></Annotation>"
        for name, points in annotations
    )
    return f"<ASAP_Annotations><Annotations {box}>{text}</Annotations></ASAP_Annotations>"


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def polyline(name, points):
    return {"type": "polyline", "group": name, "closed": True, "points": [[x, y, 0] for x, y in points]}


SQUARE_JSON = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}


def feature(name, geometry):
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": name and {"name": name}}}


def test_asap_with_a_box(tmp_path):
    text = asap(("dead", SQUARE), ("Region*", [(0, 0), (9, 0), (9, 9)]), box='X="5" Y="6" W="70" H="80"')
    found = read_annotations(write(tmp_path, "a.xml", text), PANNUKE)
    assert tuple(found.box) == (5, 6, 70, 80)
    assert found.outlines == [
        Outline("dead", shapely.Polygon(SQUARE)), Outline("region", shapely.Polygon([(0, 0), (9, 0), (9, 9)]))
    ]  # fmt: skip


def test_points_and_lines_enclose_nothing(tmp_path):
    text = asap(("Positive", [(1, 1)]), ("dead", SQUARE[:2]), ("dead", SQUARE))
    assert len(read_annotations(write(tmp_path, "a.xml", text), PANNUKE).outlines) == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_dsa(tmp_path, wrapped):
    rectangle = {"type": "rectangle", "label": {"value": "Region"}, "center": [10, 20, 0], "width": 8, "height": 6}
    document = {"name": "n", "elements": [polyline("Connective", SQUARE), rectangle]}
    found = read_annotations(write(tmp_path, "a.json", {"annotation": document} if wrapped else document), PANNUKE)
    assert found.outlines[0] == Outline("connective", shapely.Polygon(SQUARE))
    assert found.outlines[1].polygon.equals(shapely.box(6, 17, 14, 23))


def test_geojson_keeps_holes_and_leaves_out_regions_of_no_class(tmp_path):
    rings = [[[0, 0], [9, 0], [9, 9], [0, 0]], [[5, 3], [6, 3], [6, 4], [5, 3]]]
    polygon = feature("epithelial", {"type": "Polygon", "coordinates": rings})
    unclassed = feature(None, {"type": "Polygon", "coordinates": rings[:1]})
    unclassed["properties"]["objectType"] = "annotation"
    point = feature("dead", {"type": "Point", "coordinates": [1, 1]})
    for document in ({"type": "FeatureCollection", "features": [polygon, unclassed, point]}, [polygon], polygon):
        (outline,) = read_annotations(write(tmp_path, "a.geojson", document), PANNUKE).outlines
        assert outline.polygon.equals(shapely.Polygon(rings[0], rings[1:]))


def test_an_outline_drawn_across_itself_is_mended(tmp_path):
    bow = [(0, 0), (4, 4), (4, 0), (0, 4)]
    (outline,) = read_annotations(write(tmp_path, "a.xml", asap(("dead", bow))), PANNUKE).outlines
    assert outline.polygon.is_valid
    assert outline.polygon.area == 8


@pytest.mark.parametrize(
    ("given", "found"),
    [("Class 1", "class 1"), ("class 2*", "class 2"), ("T & NK*", "T & NK*"), ("IGNORE*", "ignore"), ("dead", None)],
)
def test_outlines_are_of_the_classes_of_a_table(tmp_path, given, found):
    table = some_classes(4)
    table = replace(table, classes=(*table.classes[:3], replace(table.classes[3], name="T & NK*")))
    path = write(tmp_path, "a.json", {"elements": [polyline(given, SQUARE)]})
    if found is None:
        with pytest.raises(InputError, match="class 'dead'; expected class 1, class 2, T & NK\\*, Ignore"):
            read_annotations(path, table)
    else:
        assert [outline.name for outline in read_annotations(path, table).outlines] == [found]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xml", "<a/>", "its root is a"),
        ("a.xml", "<ASAP_Annotations>", "cannot be read as annotations"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations/>', "document type"),
        ("a.xml", asap(("Tumor", SQUARE)), "class 'Tumor'; expected neoplastic, inflammatory"),
        ("a.xml", asap(("dead", [("one", 2)] * 3)), "cannot be read"),
        ("a.json", "{", "cannot be read"),
        ("a.json", {"elements": [{"type": "polyline", "points": []}]}, "cannot be read"),
        ("a.json", {"elements": [7]}, "cannot be read"),
        ("a.geojson", {"features": [{"properties": {"classification": {"name": "dead"}}}]}, "cannot be read"),
        ("a.geojson", [feature(None, SQUARE_JSON)], "none of its 1 outlines has a class"),
        ("a.geojson", [feature("dead", SQUARE_JSON), feature(None, SQUARE_JSON)], "an outline has no class"),
        ("a.xml", asap(("T" * 5000, SQUARE)), "class 'TTT"),
        ("a.geojson", [feature("dead", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]})], "cannot be read"),
        ("a.json", {"elements": [polyline("dead", [(0, 0), (float("inf"), 1), (1, 1)])]}, "is no place"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.xml", asap(("dead", SQUARE), box='X="0" Y="0" W="1e999" H="9"'), "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name, content, words):
    with pytest.raises(InputError, match=words) as refused:
        read_annotations(write(tmp_path, name, content), PANNUKE)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
