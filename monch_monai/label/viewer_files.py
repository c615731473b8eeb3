"""Files of viewers' annotations: ASAP XML of ASAP and of QuPath's MONAI Label extension, DSA JSON, QuPath's GeoJSON.

Sources: ASAP's `XmlRepository` and `PolyQtAnnotation`, the extension's `SubmitLabel` with QuPath's `ROI.getAllPoints`,
and large_image's annotation schema.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple
from xml.etree import ElementTree

import shapely
from shapely.geometry import shape

from monch_monai.errors import shown
from monch_monai.geometry import Level0Box
from monch_monai.label.shapes import Point, ellipse, ellipse_within, filled, parts_of_rings, rectangle, spline

CLOSED = ("polygon", "rectangle", "ellipse", "geometry", "area", "area (awt)", "spline")
LINES = ("line", "polyline", "measurement", "arrow", "linestring", "multilinestring")
POINTS = ("dot", "pointset", "points", "point", "multipoint")


class Mark(NamedTuple):
    """One annotation of a file.

    Attributes:
        names: what may be its class's name, the likeliest first.
        parts: what it encloses; none for a point where the format leaves points out.
    """

    names: list[str]
    parts: list[shapely.Geometry]


class RefusedShapeError(ValueError):
    """An annotation whose viewer does not fill it, or not as polygons."""


def read_xml(text: str) -> tuple[list[Mark], Level0Box | None]:
    """Annotations of ASAP XML, and the box that the file states for itself, if it states one.

    A `Type` that encloses something is drawn as its program draws it. Annotations without a `Type` are polygons; of
    fewer than three points they enclose nothing.

    Raises:
        RefusedShapeError: an annotation is a line, a point or of an unknown type, or its parts cannot be separated.
        ValueError: it is no ASAP XML.
    """
    if "<!DOCTYPE" in text:
        raise ValueError("it has a document type")  # the only place where entities, which may expand without end, fit
    root = ElementTree.fromstring(text)  # noqa: S314
    if root.tag != "ASAP_Annotations":
        raise ValueError(f"its root is {root.tag}")
    about = root.find("Annotations")
    box = None if about is None else Level0Box(*(int(float(about.get(key, 0))) for key in ("X", "Y", "W", "H")))
    marks = [_asap_mark(annotation) for annotation in root.iter("Annotation")]
    return marks, (box if box is not None and box.width > 0 and box.height > 0 else None)


def read_json(text: str) -> tuple[list[Mark], None]:
    """Annotations of DSA JSON or GeoJSON.

    Raises:
        RefusedShapeError: one is a line or another shape that encloses nothing, or a point of DSA's.
        ValueError: it is neither format.
    """
    document: Any = json.loads(text)
    # The Digital Slide Archive wraps an annotation in its record, and gives out all of an image as a list of these.
    records = document if isinstance(document, list) else [document]
    wrapped = [record.get("annotation", record) if isinstance(record, dict) else record for record in records]
    if wrapped and all(isinstance(each, dict) and "elements" in each for each in wrapped):
        return [_dsa_mark(element) for each in wrapped for element in each["elements"]], None
    return list(_geojson(document)), None


def _asap_mark(annotation: ElementTree.Element) -> Mark:
    found = list(annotation.iter("Coordinate"))
    orders = [c.get("Order", "") for c in found]
    if all(order.isdecimal() for order in orders):
        found.sort(key=lambda c: int(c.get("Order", 0)))
    points = [(float(c.attrib["X"]), float(c.attrib["Y"])) for c in found]
    group = annotation.get("PartOfGroup", "None")
    names = [annotation.attrib["Name"], *([] if group == "None" else [group])]
    given = annotation.get("Type")
    if given is None and len(points) < 3:
        return Mark(names, [])
    kind = (given or "polygon").casefold()
    _check_kind(names, given or kind, CLOSED)
    if kind == "ellipse" and len(points) in (2, 4):
        return Mark(names, [ellipse_within(points)])
    if len(points) < 3:
        raise RefusedShapeError(_sentence(names, f"a {given} of {len(points)} points, which encloses nothing"))
    if kind in ("geometry", "area", "area (awt)"):
        parts = parts_of_rings(points)
        if parts is None:
            raise RefusedShapeError(
                _sentence(names, f"of type {given}, whose points are not closed rings: its parts cannot be separated")
            )
        return Mark(names, parts)
    if kind == "spline":
        distinct = [point for point, _ in groupby(points)]
        distinct = distinct[:-1] if distinct[0] == distinct[-1] else distinct
        return Mark(names, [spline(distinct) if len(distinct) > 2 else filled(points)])
    return Mark(names, [filled(points)])


def _dsa_mark(element: dict[str, Any]) -> Mark:
    kind = element["type"]
    names = [name for name in (element.get("group"), (element.get("label") or {}).get("value")) if name]
    if not names:
        raise ValueError(f"an element of type {kind} has neither group nor label")
    turned = element.get("rotation") or 0.0
    if kind == "polyline" and element.get("closed") and len(element["points"]) > 2:
        area = filled(_flat(element["points"]))
        for hole in element.get("holes") or []:
            area = area.difference(filled(_flat(hole)))
        return Mark(names, [area])
    if kind == "circle":
        return Mark(names, [ellipse(_flat([element["center"]])[0], 2 * element["radius"], 2 * element["radius"])])
    if kind == "ellipse":
        return Mark(names, [ellipse(_flat([element["center"]])[0], element["width"], element["height"], turned)])
    if kind == "rectangle":
        return Mark(names, [rectangle(_flat([element["center"]])[0], element["width"], element["height"], turned)])
    _check_kind(names, kind, ())
    raise AssertionError


def _geojson(document: Any) -> Iterator[Mark]:
    features = document if isinstance(document, list) else document.get("features", [document])
    if features and not any(feature["properties"].get("classification") for feature in features):
        raise RefusedShapeError(f"none of its {len(features)} outlines has a class: give each nucleus one")
    for feature in features:
        about = feature["properties"].get("classification") or {}
        name = about.get("name") or ": ".join(about.get("names") or [])  # QuPath's derived classes have several
        if not name and feature["properties"].get("objectType") == "annotation":  # a region that a person looked at
            continue
        if not name:
            raise RefusedShapeError("an outline has no class: give each nucleus one, or remove it")
        geometry = feature.get("nucleusGeometry") or feature["geometry"]  # of a cell, QuPath's `geometry` is the cell
        kind = geometry["type"]
        if kind in ("Point", "MultiPoint"):
            yield Mark([name], [])
        else:
            _check_kind([name], kind, ("polygon", "multipolygon"))
            yield Mark([name], list(shapely.get_parts(shape(geometry))))


def _check_kind(names: list[str], kind: str, drawn: tuple[str, ...]) -> None:
    if kind.casefold() in drawn:
        return
    if kind.casefold() in LINES:
        what = f"an open line ({kind}), which encloses nothing"
    elif kind.casefold() in POINTS:
        what = f"a point ({kind}), which encloses nothing"
    else:
        what = f"of type {kind}, which is not drawn as an outline"
    raise RefusedShapeError(_sentence(names, what))


def _sentence(names: list[str], what: str) -> str:
    return f"an annotation of class {shown(names[0])} is {what}: make it a closed polygon, or remove it"


def _flat(points: list[list[float]]) -> list[Point]:
    """Points without their third number, z."""
    return [(float(point[0]), float(point[1])) for point in points]
