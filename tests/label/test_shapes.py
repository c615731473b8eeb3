import json
import math

import numpy as np
import pytest
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import read_annotations
from monch_monai.label.labels import read_labels
from monch_monai.label.shapes import ellipse, filled, parts_of_rings, rectangle, spline
from tests.label.drawing import CLASS, asap, dsa, geojson, qupath, shapes

WHOLE = Level0Box(0, 0, 300, 240)
SQUARE = [(20, 20), (60, 20), (60, 50), (20, 50)]


def read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_labels(tmp_path / name, WHOLE, 0.25, PANNUKE)


def pixels_of(shape):
    rows, columns = np.mgrid[: WHOLE.height, : WHOLE.width] + 0.5
    return shapely.contains_xy(shape, columns, rows)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_drawn_is_read_back_to_a_rim_of_a_pixel(tmp_path, seed):
    """QuPath's points are cut to whole numbers, each by less than a pixel along x and along y."""
    for kind, draw in shapes(seed):
        shape, name, text = draw()
        label = read(tmp_path, name, text).classes == 1
        rim = math.sqrt(2) + 0.05 if kind.startswith("QuPath") else 0.05
        assert not (label & ~pixels_of(shape.buffer(rim))).any(), kind
        assert not (pixels_of(shape.buffer(-rim)) & ~label).any(), kind
        assert abs(int(label.sum()) - shape.area) <= shape.length + 1, kind


def test_ellipses_have_the_area_of_ellipses(tmp_path):
    assert read(tmp_path, *qupath("Ellipse", [(100, 80), (120, 100), (100, 120), (80, 100)])).classes.sum() == 1264
    assert ellipse((3, 4), 10, 6).area == pytest.approx(math.pi * 5 * 3, rel=2e-4)
    turned = ellipse((10, 20), 8, 2, math.pi / 2)  # the long axis from x towards y, that is downwards
    assert turned.bounds == pytest.approx((9, 16, 11, 24))
    assert rectangle((0, 0), 4, 2, math.pi / 4).contains(shapely.Point(1.2, 1.2))


def test_each_part_is_a_nucleus(tmp_path):
    apart = [*SQUARE, SQUARE[0], *[(x + 100, y) for x, y in SQUARE], (120, 20)]
    label = read(tmp_path, *qupath("Geometry", apart))
    assert (label.classes == 1).sum() == 2 * 40 * 30
    assert label.instances.max() == 2
    both = shapely.MultiPolygon([shapely.box(0, 0, 9, 9), shapely.box(20, 0, 29, 9)])
    assert read(tmp_path, *geojson(both)).instances.max() == 2


def test_rings_whose_points_coincide_are_separated():
    ring = [(0, 0), (0, 0), (9, 0), (0, 0), (9, 9), (0, 9), (0, 0), (0, 0)]  # it passes its first point twice
    other = [(20, 0), (29, 0), (29, 9), (20, 0)]
    assert [part.area for part in parts_of_rings(ring + other)] == [40.5, 40.5]
    speck = [(50, 50)] * 4
    assert [part.area for part in parts_of_rings(other + speck)] == [40.5]
    assert parts_of_rings([*other, (1, 1)]) is None
    assert parts_of_rings([]) is None


def test_what_a_path_goes_round_twice_is_filled():
    star = [(math.cos(a), math.sin(a)) for a in np.arange(5) * 4 * math.pi / 5]
    assert filled(star).contains(shapely.Point(0, 0))
    assert filled([(0, 0), (4, 4), (4, 0), (0, 4)]).area == 8
    assert filled([(1, 1)] * 3).area == 0


def test_a_spline_goes_through_its_points_and_is_rounder_than_their_polygon(tmp_path):
    angles = np.arange(12) * math.pi / 6
    points = [(100 + 40 * math.cos(a), 100 + 40 * math.sin(a)) for a in angles]
    curve = spline(points)
    assert all(curve.boundary.distance(shapely.Point(p)) < 1e-9 for p in points)
    assert shapely.Polygon(points).area < curve.area
    assert curve.area == pytest.approx(math.pi * 1600, rel=0.01)
    for drawn in (points, [*points, points[-1], points[0]]):  # repeated points change nothing
        label = read(tmp_path, *asap("Spline", drawn))
        assert (label.classes == 1).sum() == pytest.approx(curve.area, abs=30)


def test_coordinates_are_read_in_their_order(tmp_path):
    name, text = qupath("Polygon", SQUARE)
    first, second = (f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in ((1, SQUARE[1]), (2, SQUARE[2])))
    swapped = text.replace(first + second, second + first)
    assert swapped != text
    assert (read(tmp_path, name, swapped).classes == 1).sum() == 40 * 30


REFUSED = {
    "QuPath line": (*qupath("Line", SQUARE[:2]), "open line .Line."),
    "QuPath polyline": (*qupath("Polyline", SQUARE), "open line .Polyline."),
    "QuPath lines in one": (*qupath("Geometry", SQUARE), "Geometry, whose points are not closed rings"),
    "QuPath's earlier areas": (*qupath("Area (AWT)", SQUARE), "its parts cannot be separated"),
    "ASAP dot": (*asap("Dot", SQUARE[:1]), "a point .Dot."),
    "ASAP points": (*asap("PointSet", SQUARE), "a point .PointSet."),
    "ASAP measurement": (*asap("Measurement", SQUARE[:2]), "open line .Measurement."),
    "ASAP, none": (*asap("None", SQUARE), "of type None"),
    "a polygon of two points": (*asap("Polygon", SQUARE[:2]), "Polygon of 2 points"),
    "DSA line": (*dsa(type="polyline", closed=False, points=[[*p, 0] for p in SQUARE]), "open line .polyline."),
    "DSA line that states nothing": (*dsa(type="polyline", points=[[*p, 0] for p in SQUARE]), "open line"),
    "DSA point": (*dsa(type="point", center=[3, 4, 0]), "a point"),
    "DSA arrow": (*dsa(type="arrow", points=[[3, 4, 0], [5, 6, 0]]), "open line .arrow."),
    "DSA grid": (
        *dsa(type="rectanglegrid", center=[9, 9, 0], width=8, height=8, widthSubdivisions=2, heightSubdivisions=2),
        "of type rectanglegrid",
    ),
    "DSA heat map": (*dsa(type="heatmap", points=[[3, 4, 0, 1]]), "of type heatmap"),
    "DSA image": (*dsa(type="image", girderId="0" * 24), "of type image"),
    "GeoJSON line": (*geojson(shapely.LineString(SQUARE)), "open line .LineString."),
    "GeoJSON collection": (*geojson(shapely.GeometryCollection([shapely.box(0, 0, 9, 9)])), "GeometryCollection"),
    "GeoJSON of points alone": (*geojson(shapely.Point(3, 4)), "marks only points or lines"),
    "a derived class": (
        geojson(shapely.box(0, 0, 9, 9))[0],
        geojson(shapely.box(0, 0, 9, 9))[1].replace(f'"name": "{CLASS}"', f'"names": ["{CLASS}", "Positive"]'),
        "class 'neoplastic: Positive'",
    ),
    "two classes": (
        "a.xml", asap("Polygon", SQUARE)[1].replace("Annotation 0", "dead"), "two classes, 'dead' and 'neoplastic'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_encloses_nothing_is_refused_by_name(tmp_path, case):
    name, text, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refused:
        read(tmp_path, name, text)
    assert "\n" not in str(refused.value)


def test_of_a_cell_the_nucleus_is_taken(tmp_path):
    name, text = geojson(shapely.box(10, 10, 90, 90))
    document = json.loads(text)
    document["features"][0]["nucleusGeometry"] = json.loads(geojson(shapely.box(40, 40, 50, 50))[1])["features"][0][
        "geometry"
    ]
    assert (read(tmp_path, name, json.dumps(document)).classes == 1).sum() == 100


def test_all_annotations_of_an_image_as_dsa_gives_them_out(tmp_path):
    one = json.loads(dsa(type="circle", center=[50, 50, 0], radius=10)[1])
    other = json.loads(dsa(type="rectangle", center=[150, 50, 0], width=10, height=10)[1])
    (tmp_path / "a.json").write_text(json.dumps([one, other]))
    assert [o.name for o in read_annotations(tmp_path / "a.json", PANNUKE).outlines] == [CLASS, CLASS]


def test_a_style_of_dsa_gives_way_to_the_label_that_is_a_class(tmp_path):
    name, text = dsa(type="circle", center=[50, 50, 0], radius=10, label={"value": "Dead"})
    assert (read(tmp_path, name, text.replace(f'"group": "{CLASS}"', '"group": "default"')).classes == 4).any()
