import gzip
import json
import logging

import numpy as np
import pytest
import shapely
from shapely.geometry import mapping

from monch_monai.errors import InputError
from monch_monai.segmentation import GivenNuclei
from monch_monai.slides import ImageSlide, grid_of
from monch_monai.writers.geojson import typed_feature
from tests.fakes.slides import GLASS, Nucleus, paint

RINGS = [[[x, y], [x + 12, y], [x + 12, y + 12], [x, y + 12], [x, y]] for x, y in ((94, 94), (294, 94), (194, 194))]
NUCLEI = [Nucleus(100, 100, 9, 2), Nucleus(300, 100, 9, 4), Nucleus(200, 200, 9, 1)]


def feature(ring=None, geometry=None, kind=None, **more):
    geometry = {"type": "Polygon", "coordinates": [ring]} if ring is not None else geometry
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind} if kind else {}, **more}


def multi(*rings):
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def saved(path, features, **collection):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **collection}), encoding="utf-8")
    return path


def written(path, *rings):
    return saved(path, [feature(ring) for ring in rings])


def slide(ground=(232, 190, 214), nuclei=NUCLEI, origin=(0, 0)):
    made = ImageSlide(paint(nuclei, (400, 300), ground), 0.25, "s.tif")
    made.origin = origin
    return made


def placed(path, on=None):
    """The nuclei of a file, and the slide's grid."""
    on = on or slide()
    given = GivenNuclei.read(path)
    given.added_tissue(on, grid_of(on))
    return given


def test_an_outline_with_a_spike_keeps_its_area_and_loses_the_spike(tmp_path):
    spike = [[0, 0], [10, 0], [10, 10], [10, 20], [10, 10], [0, 10], [0, 0]]
    (polygon,) = GivenNuclei.read(written(tmp_path / "n.geojson", spike)).polygons
    assert (polygon.geom_type, polygon.area, polygon.bounds) == ("Polygon", 100, (0, 0, 10, 10))


def test_an_outline_that_crosses_itself_becomes_its_parts(tmp_path):
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    (polygon,) = GivenNuclei.read(written(tmp_path / "n.geojson", bow)).polygons
    assert (polygon.geom_type, polygon.area) == ("MultiPolygon", 50)


def test_an_outline_without_an_area_is_refused(tmp_path):
    with pytest.raises(InputError, match="without an area"):
        GivenNuclei.read(written(tmp_path / "n.geojson", [[0, 0], [10, 0], [0, 0], [0, 0]]))


def test_any_outline_read_back_keeps_its_area(tmp_path):
    """Any simple outline, with holes, of any winding, open or closed, in two or three dimensions."""
    draw = np.random.default_rng(0)
    drawn = []
    for _ in range(60):
        angles = np.sort(draw.uniform(0, 2 * np.pi, draw.integers(8, 40)))
        reach = draw.uniform(3, 40) * draw.uniform(0.5, 1, len(angles))
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None] + draw.uniform(-50, 500, 2)
        shape = shapely.make_valid(shapely.Polygon(points))
        if shape.geom_type != "Polygon":
            continue
        hole = shape.representative_point().buffer(0.4 * np.sqrt(draw.uniform(0, 1)))
        drawn.append(shape.difference(hole) if draw.random() < 0.5 else shape)
    features = []
    for number, shape in enumerate(drawn):
        coordinates = [[[x, y, 0.0][: 2 + number % 2] for x, y in ring] for ring in mapping(shape)["coordinates"]]
        coordinates[0] = coordinates[0][:: -1 if number % 3 else 1]
        coordinates[0] = coordinates[0][: -1 if number % 5 == 0 else None]
        features.append(feature(geometry={"type": "Polygon", "coordinates": coordinates}))
    given = GivenNuclei.read(saved(tmp_path / "n.geojson", features))
    assert len(given.polygons) == len(drawn) >= 50
    for found, shape in zip(given.polygons, drawn, strict=True):
        assert abs(found.area - shape.area) < 1e-6 * shape.area
        assert found.hausdorff_distance(shape) < 1e-9


def test_all_cells_of_a_class_in_one_multipolygon_are_as_many_nuclei(tmp_path):
    """As CellViT writes them: an annotation a class."""
    classes = [
        feature(geometry=multi(*rings), kind="annotation", id=str(i)) for i, rings in enumerate((RINGS[:2], RINGS[2:]))
    ]
    (tmp_path / "n.json").write_text(json.dumps(classes), encoding="utf-8")
    given = placed(tmp_path / "n.json")
    assert [p.bounds[:2] for p in given.polygons] == [(94, 94), (294, 94), (194, 194)]
    assert given.sources.tolist() == [0, 1, 2]
    assert given.originals[1] == {
        "type": "Feature",
        "geometry": mapping(shapely.Polygon(RINGS[1])),
        "properties": {"objectType": "detection"},
    }
    assert given.originals[2]["id"] == "1"


def test_a_detection_of_two_pieces_is_one_nucleus(tmp_path):
    given = placed(saved(tmp_path / "n.geojson", [feature(geometry=multi(*RINGS[:2]), kind="detection")]))
    assert [p.geom_type for p in given.polygons] == ["MultiPolygon"]


@pytest.mark.parametrize("spelling", [{"kind": "annotation"}, {"id": "PathAnnotationObject"}, {"kind": "tile"}])
def test_regions_of_interest_beside_detections_are_left_alone(tmp_path, caplog, spelling):
    caplog.set_level(logging.INFO)
    ring = RINGS[0] if "tile" in spelling.values() else square(10, 10, 250)
    features = [feature(ring, **spelling), *(feature(ring, kind="detection") for ring in RINGS)]
    given = placed(saved(tmp_path / "n.geojson", features))
    assert given.sources.tolist() == [1, 2, 3]
    assert "s.tif: of n.geojson were left out: 1 of the type" in caplog.text
    assert sum(given.report["left_out"].values()) == 1


@pytest.mark.parametrize("kind", [None, "annotation"])
def test_an_outline_of_no_stated_type_that_is_longer_than_any_nucleus_is_left_alone(tmp_path, kind):
    given = placed(saved(tmp_path / "n.geojson", [feature(square(10, 10, 257), kind=kind), feature(RINGS[1])]))
    assert given.sources.tolist() == [1]
    assert given.report["left_out"] == {"longer than 64 µm": 1}


def test_annotations_alone_are_nuclei(tmp_path):
    assert (
        len(placed(saved(tmp_path / "n.geojson", [feature(ring, kind="annotation") for ring in RINGS])).polygons) == 3
    )


def test_a_cells_nucleus_is_its_nucleus_and_not_its_membrane(tmp_path):
    cells = [
        feature(square(x - 9, y - 9, 30), kind="cell", nucleusGeometry={"type": "Polygon", "coordinates": [ring]})
        for ring in RINGS
        for x, y in ring[:1]
    ]
    cells[2].pop("nucleusGeometry")
    given = placed(saved(tmp_path / "n.geojson", cells))
    assert [p.area for p in given.polygons] == [144, 144, 900]
    assert given.originals[0] == cells[0]


def test_what_has_no_outline_is_counted_and_the_rest_typed(tmp_path, caplog):
    flat, point = [[0, 0], [10, 0], [0, 0], [0, 0]], [[5, 5], [6, 6]]
    features = [feature(geometry=None), feature(flat), feature(point), feature(RINGS[0]), feature(RINGS[1])]
    features += [feature(square(5000, 94, 12)), feature(square(394, 94, 12.2))]
    given = placed(saved(tmp_path / "n.geojson", features))
    assert given.sources.tolist() == [3, 4]
    assert given.report["left_out"] == {"without a geometry": 1, "without an area": 2, "outside the slide": 2}
    assert "1 without a geometry, 2 without an area, 2 outside the slide" in caplog.text


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ([feature(geometry=None)], r"holds no nucleus \(1 without a geometry\): export nuclei as polygons"),
        ([feature(RINGS[0], kind="tma core")], "holds no nucleus .1 of the type tma core"),
        ([feature(RINGS[0]), feature(geometry={"type": "Point", "coordinates": [1, 2]})], "Feature 2 holds a Point"),
        ([feature(RINGS[0]), feature([["a", 1], [2, 3], [4, 5]])], "Feature 2 has coordinates that are no polygon's"),
        ([feature([[0, 0], [None, 1], [2, 2]])], "Feature 1 has coordinates that are no polygon's"),
        ([feature(geometry={"type": "Polygon", "coordinates": 5})], "Feature 1 has coordinates that are no polygon's"),
        ([feature(geometry={"type": "Polygon"})], "Feature 1 has coordinates that are no polygon's"),
        ([feature(geometry=[1, 2])], "Feature 1 holds a None; expected polygons"),
        (["x"], "is no GeoJSON of outlines"),
    ],
)
def test_a_file_of_which_nothing_can_be_typed_is_refused_in_one_line(tmp_path, features, problem):
    with pytest.raises(InputError, match=problem) as caught:
        GivenNuclei.read(saved(tmp_path / "n.geojson", features))
    assert "\n" not in str(caught.value)


def test_points_and_lines_of_annotations_are_left_alone(tmp_path):
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    given = placed(saved(tmp_path / "n.geojson", [feature(geometry=line, kind="annotation"), feature(RINGS[0])]))
    assert given.report["left_out"] == {"of the type annotation": 1}


def test_a_file_without_features_is_no_error_but_is_named(tmp_path, caplog):
    assert len(placed(saved(tmp_path / "n.geojson", [])).polygons) == 0
    assert "n.geojson holds no outline" in caplog.text


@pytest.mark.parametrize("make", ["bom", "utf-16", "gzip", "one feature", "nan"])
def test_forms_that_other_tools_write_are_read(tmp_path, make):
    text = json.dumps({"type": "FeatureCollection", "features": [feature(RINGS[0])]})
    path = tmp_path / ("n.geojson.gz" if make == "gzip" else "n.geojson")
    content = {
        "bom": b"\xef\xbb\xbf" + text.encode(), "utf-16": text.encode("utf-16"), "gzip": gzip.compress(text.encode()),
        "one feature": json.dumps(feature(RINGS[0])).encode(),
        "nan": text.replace("{}", '{"measurements": {"a": NaN}}').encode(),
    }[make]  # fmt: skip
    path.write_bytes(content)
    assert len(placed(path).polygons) == 1


def test_measurements_of_any_form_do_not_end_the_writing(tmp_path):
    added = {"Mean probability": 0.5}
    for measurements in (None, "text", 5, ["a", {"name": "b"}, {"name": "c", "value": 1}], {"c": 1}):
        original = feature(RINGS[0]) | {"properties": {"measurements": measurements}}
        made = typed_feature(original, NucleusClassFake, added)
        assert made["properties"]["measurements"]["Mean probability"] == 0.5
    assert typed_feature({"properties": [1]}, NucleusClassFake, added)["properties"]["objectType"] == "detection"


class NucleusClassFake:
    name, color = "dead", (1, 2, 3)


def test_outlines_in_px_of_the_whole_file_are_found_by_what_the_slide_shows(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    scanned = slide(origin=(1024, 768))
    of_part = written(tmp_path / "part.geojson", *RINGS)
    whole = written(tmp_path / "whole.geojson", *([[x + 1024, y + 768] for x, y in ring] for ring in RINGS))
    for path in (of_part, whole):
        given = placed(path, scanned)
        assert [p.bounds[:2] for p in given.polygons] == [(94, 94), (294, 94), (194, 194)]
        assert given.originals[0]["geometry"]["coordinates"] == [RINGS[0]]
    assert given.report["origin_in_file"] == [1024, 768]
    assert "whole.geojson is in px of the whole file, whose scanned part begins at (1024, 768)" in caplog.text


@pytest.mark.parametrize("origin", [(-60, 40), (7, 33)])
def test_an_origin_that_leaves_outlines_on_tissue_is_told_from_the_right_one(tmp_path, origin):
    scanned = slide(origin=tuple(abs(x) for x in origin))
    moved = ([[x + scanned.origin[0], y + scanned.origin[1]] for x, y in ring] for ring in RINGS)
    given = placed(written(tmp_path / "n.geojson", *moved), scanned)
    assert [p.bounds[:2] for p in given.polygons] == [(94, 94), (294, 94), (194, 194)]


@pytest.mark.parametrize("ring", [square(20, 250, 12), square(5000, 5000, 12)])
def test_outlines_on_glass_or_outside_are_refused(tmp_path, ring):
    with pytest.raises(InputError, match=r"lie on no tissue of s\.tif \((100|0)% are on the slide, 0% on more than"):
        placed(written(tmp_path / "n.geojson", ring), slide(GLASS))


def test_outlines_that_are_no_darker_than_their_surroundings_are_doubted(tmp_path, caplog):
    placed(written(tmp_path / "n.geojson", *(square(x, 250, 12) for x in range(20, 300, 40))))
    assert "only 0 % of the outlines of n.geojson are darker than what is around them" in caplog.text
