"""Outlines as viewers send them: ASAP XML (QuPath's MONAI Label extension), DSA JSON and QuPath's GeoJSON."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import shapely
from shapely.geometry import shape

from monch_monai.class_table import IGNORE_INDEX, ClassTable
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box

SUFFIXES = (".xml", ".json", ".geojson")
REVIEWED = "region"
"""Name of the class whose outlines enclose what was looked at. QuPath has a class `Region*` from the start."""
IGNORED = "ignore"
"""Name of the class whose outlines enclose what is left out; `Ignore*` is a class of QuPath's too."""


class Outline(NamedTuple):
    """What one outline encloses: a class's name, `IGNORED` or `REVIEWED`, and its polygon in px of the image."""

    name: str
    polygon: shapely.Geometry


class Annotations(NamedTuple):
    """All outlines of a file in its order, and the box that the file states for itself, if it states one."""

    outlines: list[Outline]
    box: Level0Box | None


def values(class_table: ClassTable) -> dict[str, int]:
    """Value in a class map of what an outline of a name encloses."""
    return {c.name: c.index for c in class_table.nuclei} | {IGNORED: IGNORE_INDEX}


def read_annotations(path: str | Path, class_table: ClassTable) -> Annotations:
    """Outlines of a file of annotations, of the classes of a table.

    Raises:
        InputError: it cannot be read, or an outline is of none of these classes.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    name = Path(path).name
    try:
        found, box = _read_xml(text) if Path(path).suffix.lower() == ".xml" else _read_json(text)
        found = [(given, _whole(polygon)) for given, polygon in found]
    except (
        ElementTree.ParseError, shapely.errors.ShapelyError, ValueError, KeyError, TypeError, AttributeError,
        OverflowError, RecursionError,
    ) as e:  # fmt: skip
        raise InputError(
            f"{name} cannot be read as annotations ({e}): expected ASAP XML, DSA JSON or GeoJSON with polygons"
        ) from e
    return Annotations([Outline(_class_name(given, name, class_table), polygon) for given, polygon in found], box)


def _class_name(given: str, file: str, class_table: ClassTable) -> str:
    known = {name.casefold(): name for name in (*values(class_table), REVIEWED)}
    plain = given.strip().casefold()
    name = known.get(plain) or known.get(plain.rstrip("*"))
    if name is None:
        classes = ", ".join(c.name for c in class_table.nuclei)
        raise InputError(f"{file} has an outline of class {given!r}; expected {classes}, Ignore* or Region*")
    return name


def _whole(polygon: shapely.Geometry) -> shapely.Geometry:
    """The polygon, mended where it was drawn across itself."""
    if not polygon.is_empty and not all(map(math.isfinite, polygon.bounds)):
        raise ValueError("a point of it is no place")
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def _read_xml(text: str) -> tuple[list[tuple[str, shapely.Geometry]], Level0Box | None]:
    if "<!DOCTYPE" in text:
        raise ValueError("it has a document type")  # the only place where entities, which may expand without end, fit
    root = ElementTree.fromstring(text)  # noqa: S314
    if root.tag != "ASAP_Annotations":
        raise ValueError(f"its root is {root.tag}")
    about = root.find("Annotations")
    box = None if about is None else Level0Box(*(int(float(about.get(key, 0))) for key in ("X", "Y", "W", "H")))
    found = []
    for annotation in root.iter("Annotation"):
        points = [(float(c.attrib["X"]), float(c.attrib["Y"])) for c in annotation.iter("Coordinate")]
        if len(points) > 2:  # a point or a line encloses nothing
            found.append((annotation.attrib["Name"], shapely.Polygon(points)))
    return found, (box if box is not None and box.width > 0 and box.height > 0 else None)


def _read_json(text: str) -> tuple[list[tuple[str, shapely.Geometry]], None]:
    document: Any = json.loads(text)
    if isinstance(document, dict):
        document = document.get("annotation", document)  # as the Digital Slide Archive gives them out
    elements = document.get("elements") if isinstance(document, dict) else None
    return list(_geojson(document) if elements is None else _dsa(elements)), None


def _dsa(elements: list[Any]) -> Iterator[tuple[str, shapely.Geometry]]:
    for element in elements:
        name = element.get("group") or element["label"]["value"]
        if element["type"] == "polyline" and len(element["points"]) > 2:
            yield name, shapely.Polygon([point[:2] for point in element["points"]])
        elif element["type"] == "rectangle":
            (x, y), w, h = element["center"][:2], element["width"], element["height"]
            if element.get("rotation"):
                raise ValueError("a rectangle is rotated")
            yield name, shapely.box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def _geojson(document: Any) -> Iterator[tuple[str, shapely.Geometry]]:
    features = document if isinstance(document, list) else document.get("features", [document])
    for feature in features:
        name = (feature["properties"].get("classification") or {}).get("name")
        if name and feature["geometry"]["type"] in ("Polygon", "MultiPolygon"):
            yield name, shape(feature["geometry"])
