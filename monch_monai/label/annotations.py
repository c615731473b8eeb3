"""Outlines as viewers send them, by class: ASAP XML (QuPath's MONAI Label extension), DSA JSON and QuPath's GeoJSON."""

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import shapely

from monch_monai.class_table import IGNORE_INDEX, ClassTable
from monch_monai.errors import InputError, one_line, shown
from monch_monai.geometry import Level0Box
from monch_monai.label.viewer_files import RefusedShapeError, read_json, read_xml

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
    """Outlines of a file of annotations, of the classes of a table; each part of an annotation is one.

    Raises:
        InputError: the file cannot be read, an annotation is of none of these classes or of two, is a line or another
            shape that encloses nothing, or nothing in the file encloses anything though something is marked.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    name = Path(path).name
    try:
        marks, box = read_xml(text) if Path(path).suffix.lower() == ".xml" else read_json(text)
        marks = [mark._replace(parts=[_whole(part) for part in mark.parts]) for mark in marks]
    except RefusedShapeError as e:
        raise InputError(f"{name}: {e}") from e
    except (
        ElementTree.ParseError, shapely.errors.ShapelyError, ValueError, KeyError, TypeError, AttributeError,
        OverflowError, RecursionError, IndexError,
    ) as e:  # fmt: skip
        expected = "ASAP XML, DSA JSON or GeoJSON with polygons"
        raise InputError(f"{name} cannot be read as annotations ({one_line(e)}): expected {expected}") from e
    outlines = [
        Outline(class_name, part)
        for mark in marks
        if mark.parts
        for class_name in [_class_name(mark.names, name, class_table)]
        for part in mark.parts
        if part.area
    ]
    if marks and not outlines:
        raise InputError(f"{name} marks only points or lines, which enclose nothing: draw the outlines of nuclei")
    return Annotations(outlines, box)


def _class_name(given: list[str], file: str, class_table: ClassTable) -> str:
    known = {name.casefold(): name for name in (*values(class_table), REVIEWED)}
    plain = [name.strip().casefold() for name in given]
    names = {known.get(each) or known.get(each.rstrip("*")) for each in plain} - {None}
    if len(names) > 1:
        raise InputError(f"{file} has an annotation of two classes, {' and '.join(map(repr, given))}: give it one")
    for name in names:
        if name is not None:
            return name
    classes = ", ".join(c.name for c in class_table.nuclei)
    raise InputError(f"{file} has an outline of class {shown(given[0])}; expected {classes}, Ignore* or Region*")


def _whole(polygon: shapely.Geometry) -> shapely.Geometry:
    """The polygon, mended where it was drawn across itself."""
    if not polygon.is_empty and not all(map(math.isfinite, polygon.bounds)):
        raise ValueError("a point of it is no place")
    return polygon if polygon.is_valid else shapely.make_valid(polygon)
