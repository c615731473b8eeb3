"""Shapes drawn in a viewer, and the files that it writes of them: QuPath's extension, ASAP, DSA, and GeoJSON."""

import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import mapping

CLASS = "neoplastic"
Drawn = tuple[shapely.Geometry, str, str]
"""What was drawn, and the file's name and text."""


def _xml(kind: str, points: list, name: str = CLASS, group: str | None = None) -> str:
    rows = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?><ASAP_Annotations><Annotations Name="" Description="" '
        'X="0" Y="0" W="0" H="0">'
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group or name}" Color="#ff0000">'
        f"<Coordinates>{rows}</Coordinates></Annotation></Annotations><AnnotationGroups/></ASAP_Annotations>"
    )


def qupath(kind: str, points: list) -> tuple[str, str]:
    """SubmitLabel.java: the points of the ROI as whole numbers, cut towards zero."""
    return "qupath.xml", _xml(kind, [(int(x), int(y)) for x, y in points])


def asap(kind: str, points: list) -> tuple[str, str]:
    """XmlRepository.cpp: the class is a group, the name a number."""
    return "asap.xml", _xml(kind, points, "Annotation 0", CLASS)


def dsa(**element) -> tuple[str, str]:
    return "dsa.json", json.dumps({"annotation": {"name": "n", "elements": [{"group": CLASS, **element}]}})


def geojson(shape: shapely.Geometry) -> tuple[str, str]:
    about = {"objectType": "annotation", "classification": {"name": CLASS, "color": [200, 0, 0]}}
    feature = {"type": "Feature", "id": "a", "geometry": mapping(shape), "properties": about}
    return "qupath.geojson", json.dumps({"type": "FeatureCollection", "features": [feature]})


def blob(rng: np.random.Generator, x: float, y: float, radius: float) -> shapely.Polygon:
    """A star-shaped polygon of 3 to 40 corners."""
    n = int(rng.integers(3, 41))
    angles = (np.arange(n) + rng.uniform(0, 0.8, n)) * 2 * math.pi / n
    radii = radius * rng.uniform(0.5, 1, n)
    return shapely.Polygon(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1))


def in_parts(rng: np.random.Generator) -> shapely.MultiPolygon:
    """Parts, one with a hole that holds an island, one with many small holes."""
    x, y = rng.uniform(90, 110, 2)
    ring = shapely.Point(x, y).buffer(rng.uniform(30, 60)).difference(shapely.Point(x, y).buffer(rng.uniform(15, 25)))
    island = blob(rng, x, y, rng.uniform(4, 13))
    sieve = shapely.box(180, 30, 260, 90)
    for place in range(6):
        sieve = sieve.difference(blob(rng, 190 + 12 * place, rng.uniform(45, 75), rng.uniform(1, 6)))
    apart = blob(rng, 220, 170, rng.uniform(3, 40))
    return shapely.MultiPolygon([part for part in (ring, island, sieve, apart) if part.area])


def rings(shape: shapely.Geometry) -> list:
    """GeometryROI.getAllPoints: every ring of every part, each closed."""
    return [tuple(p) for p in shapely.get_coordinates(shape)]


def corners(polygon: shapely.Polygon) -> list:
    return [tuple(p) for p in polygon.exterior.coords[:-1]]


def with_z(points: list) -> list:
    return [[x, y, 0] for x, y in points]


def _ellipse(x: float, y: float, w: float, h: float, rotation: float = 0) -> shapely.Geometry:
    angles = np.linspace(0, 2 * math.pi, 2000)
    across = w / 2 * np.cos(angles), h / 2 * np.sin(angles)
    turned = [across[0] * math.cos(rotation) - across[1] * math.sin(rotation) + x,
              across[0] * math.sin(rotation) + across[1] * math.cos(rotation) + y]  # fmt: skip
    return shapely.Polygon(np.stack(turned, axis=1))


def shapes(seed: int) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """One of every kind that every viewer draws."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(90, 160, 2)
    w, h = rng.uniform(4, 120, 2)
    turn = rng.uniform(-math.pi, math.pi)
    polygon, parts, box = blob(rng, x, y, w / 2), in_parts(rng), shapely.box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    touching = [(x, y - h / 2), (x + w / 2, y), (x, y + h / 2), (x - w / 2, y)]
    center = {"center": [x, y, 0]}
    holed = {"points": with_z(corners(box)), "holes": [with_z(corners(affinity.scale(box, 0.4, 0.4)))]}
    yield "QuPath polygon", lambda: (polygon, *qupath("Polygon", corners(polygon)))
    yield "QuPath rectangle", lambda: (box, *qupath("Rectangle", corners(box)))
    yield "QuPath ellipse", lambda: (_ellipse(x, y, w, h), *qupath("Ellipse", touching))
    yield "QuPath parts", lambda: (parts, *qupath("Geometry", rings(parts)))
    yield "ASAP polygon", lambda: (polygon, *asap("Polygon", corners(polygon)))
    yield "ASAP rectangle", lambda: (box, *asap("Rectangle", corners(box)))
    yield "DSA polygon", lambda: (polygon, *dsa(type="polyline", closed=True, points=with_z(corners(polygon))))
    yield (
        "DSA polygon with a hole",
        lambda: (box.difference(affinity.scale(box, 0.4, 0.4)), *dsa(type="polyline", closed=True, **holed)),
    )
    yield "DSA circle", lambda: (_ellipse(x, y, w, w), *dsa(type="circle", radius=w / 2, **center))
    yield (
        "DSA ellipse",
        lambda: (_ellipse(x, y, w, h, turn), *dsa(type="ellipse", width=w, height=h, rotation=turn, **center)),
    )
    yield (
        "DSA rectangle",
        lambda: (
            affinity.rotate(box, turn, use_radians=True),
            *dsa(type="rectangle", width=w, height=h, rotation=turn, **center),
        ),
    )
    yield "GeoJSON polygon", lambda: (polygon, *geojson(polygon))
    yield "GeoJSON parts", lambda: (parts, *geojson(parts))
