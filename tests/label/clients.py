"""Answers, read as the clients read them."""

import json
from xml.dom import minidom

import numpy as np
import shapely

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import Outline
from monch_monai.label.labels import draw

Found = tuple[str, shapely.Polygon]
COLORS = {c.name: "#{:02x}{:02x}{:02x}".format(*c.color) for c in PANNUKE.nuclei}


def as_qupath(text: str) -> list[Found]:
    """RunInference.java: each Annotation has a name, a colour that Java parses, and children with coordinates."""
    found = []
    for annotation in minidom.parseString(text).getElementsByTagName("Annotation"):
        name, color = annotation.attributes["Name"].value, annotation.attributes["Color"].value
        assert int(color.replace("#", "", 1), 16) == int(COLORS[name][1:], 16)
        points = [
            (float(coordinate.attributes["X"].value), float(coordinate.attributes["Y"].value))
            for coordinates in annotation.childNodes
            if coordinates.nodeType == coordinates.ELEMENT_NODE
            for coordinate in coordinates.childNodes
            if coordinate.attributes is not None
        ]
        found.append((name, shapely.Polygon(points)))
    return found


def as_dsa(text: str) -> list[Found]:
    """MONAILabelAnnotation.py: the whole is an annotation, its last line but one a description in JSON in JSON."""
    description = json.loads(json.loads(text[-5000:].split("\n")[-2:][0].replace('"description": ', "")))
    document = json.loads(text)
    assert description["count"] == len(document["elements"])
    found = []
    for element in document["elements"]:
        name = element["label"]["value"]
        assert element["type"] == "polyline"
        assert element["closed"] is True
        assert element["group"] == name
        assert element["lineColor"] == "rgb({},{},{})".format(*bytes.fromhex(COLORS[name][1:]))
        assert all(point[2] == 0 for point in element["points"])
        found.append((name, shapely.Polygon([point[:2] for point in element["points"]])))
    return found


def as_json(answer: dict) -> list[Found]:
    return [
        (element["label"], shapely.Polygon(contour))
        for each in answer["annotations"]
        for element in each["annotation"]["elements"]
        for contour in element["contours"]
    ]


def as_set(found: list[Found]) -> set[tuple[str, str]]:
    return {(name, polygon.normalize().wkt) for name, polygon in found}


def inside(found: list[Found], x: int, y: int, w: int, h: int) -> list[Found]:
    """Those whose middle lies in a region, well away from its edge."""
    box = shapely.box(x + 4, y + 4, x + w - 4, y + h - 4)
    return [each for each in found if box.contains(each[1].centroid)]


def agreement(found: list[Found], instances: np.ndarray, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """Share of an image's known nuclei that are found (IoU above 1/2), and of the found that are known, in a box."""
    x, y, w, h = box
    _, ours = draw([Outline(name, polygon) for name, polygon in found], Level0Box(*box), PANNUKE)
    theirs = instances[y : y + h, x : x + w]
    pairs, counts = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1, return_counts=True)
    area_ours, area_theirs = np.bincount(ours.ravel()), np.bincount(theirs.ravel())
    hits = sum(
        2 * n > (area_ours[a] + area_theirs[b] - n) for (a, b), n in zip(pairs.T, counts, strict=True) if a and b
    )
    return hits / np.count_nonzero(area_theirs[1:]), hits / max(1, np.count_nonzero(area_ours[1:]))
