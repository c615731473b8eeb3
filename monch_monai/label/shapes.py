"""Shapes of viewers as polygons: what QuPath, ASAP and the Digital Slide Archive (DSA) fill, in px of the image."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import shapely
from shapely import affinity

Point = tuple[float, float]

QUARTER = 64
"""Segments of a quarter of an ellipse: its polygon has 0.9999 of its area."""
STEPS = 16
"""Segments between two points of a spline."""


def filled(points: Sequence[Point]) -> shapely.Geometry:
    """What a closed path encloses, by the non-zero rule: also what it goes round twice, as QuPath and ASAP fill it.

    Args:
        points: N corners; the last need not repeat the first.

    Raises:
        ValueError: a point is not finite, or there are fewer than 3.
    """
    if not np.isfinite(points).all():
        raise ValueError("a point of it is no place")
    polygon = shapely.Polygon(points)
    if polygon.is_valid:
        return polygon
    ring = np.asarray(polygon.exterior.coords)
    faces = shapely.get_parts(shapely.polygonize([shapely.node(polygon.exterior)]))
    return shapely.union_all([face for face in faces if _winding(face.representative_point(), ring)])


def ellipse(center: Point, width: float, height: float, rotation: float = 0.0) -> shapely.Geometry:
    """An ellipse; the axis of `width` is turned by `rotation` in radians from x towards y, as DSA has it."""
    circle = shapely.Point(0, 0).buffer(1, quad_segs=QUARTER)
    turned = affinity.rotate(affinity.scale(circle, width / 2, height / 2), rotation, (0, 0), use_radians=True)
    return affinity.translate(turned, *center)


def ellipse_within(points: Sequence[Point]) -> shapely.Geometry:
    """The upright ellipse in the box around some points: QuPath writes the four where it touches that box."""
    x0, y0, x1, y1 = shapely.MultiPoint(points).bounds
    return ellipse(((x0 + x1) / 2, (y0 + y1) / 2), x1 - x0, y1 - y0)


def rectangle(center: Point, width: float, height: float, rotation: float = 0.0) -> shapely.Geometry:
    """A rectangle, turned as `ellipse`."""
    (x, y), w, h = center, width / 2, height / 2
    return affinity.rotate(shapely.box(x - w, y - h, x + w, y + h), rotation, (x, y), use_radians=True)


def parts_of_rings(points: Sequence[Point]) -> list[shapely.Geometry] | None:
    """The parts of an area whose rings are written one after the other, each with its first point again as its last.

    So QuPath writes the points of its `Geometry`: of each part the outer ring, then its holes. Points are whole
    numbers, so neighbours may coincide and a ring may pass its first point before its end; a ring ends at the first
    such point after which the rest are closed rings too.

    Returns:
        the parts with their holes; None where the points are not closed rings.
    """
    rings = _rings(points)
    if rings is None:
        return None
    parts: list[shapely.Geometry] = []
    for area in map(filled, rings):
        if not area.area:
            continue
        if parts and parts[-1].intersection(area).area > area.area / 2:  # it lies in what is filled so far
            parts[-1] = parts[-1].difference(area)
        else:
            parts.append(area)
    return parts


def spline(points: Sequence[Point]) -> shapely.Geometry:
    """What ASAP's closed spline encloses: a centripetal Catmull-Rom curve through the points.

    As ASAP draws it, the curve leaves the last point straight towards the first, and comes to the last point straight
    from the last but one.

    Args:
        points: at least 3, of which neighbours differ.
    """
    knots = [np.asarray(point, float) for point in points]
    curve: list[np.ndarray] = []
    for i, (start, end) in enumerate(pairwise([*knots, knots[0]])):
        closing = i == len(knots) - 1
        before = 2 * start - end if closing else knots[i - 1]
        after = knots[1] if closing else knots[i + 2] if i + 2 < len(knots) else 2 * end - start
        curve += _catmull_rom(before, start, end, after)
    return filled([(float(x), float(y)) for x, y in curve])


def _catmull_rom(before: np.ndarray, start: np.ndarray, end: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Points from `start` on, before `end` (Barry and Goldman 1988, with the square root of distances as parameter)."""
    t1, t2, t3 = np.cumsum([math.sqrt(float(np.linalg.norm(b - a))) for a, b in pairwise((before, start, end, after))])
    points = []
    for t in np.linspace(t1, t2, STEPS, endpoint=False):
        a1 = before + (start - before) * t / t1
        a2 = start + (end - start) * (t - t1) / (t2 - t1)
        a3 = end + (after - end) * (t - t2) / (t3 - t2)
        b1 = a1 + (a2 - a1) * t / t2
        b2 = a2 + (a3 - a2) * (t - t1) / (t3 - t1)
        points.append(b1 + (b2 - b1) * (t - t1) / (t2 - t1))
    return points


def _rings(points: Sequence[Point]) -> list[Sequence[Point]] | None:
    """The points cut into closed rings of at least four points; None where that cannot be."""
    places: dict[Point, list[int]] = defaultdict(list)
    for i, point in enumerate(points):
        places[point].append(i)
    ends: dict[int, int] = {len(points): 0}  # of the rings that may begin at a point, the first end
    for i in range(len(points) - 1, -1, -1):
        fitting = (j + 1 for j in places[points[i]] if j >= i + 3 and j + 1 in ends)
        end = next(fitting, None)
        if end is not None:
            ends[i] = end
    if not points or 0 not in ends:
        return None
    rings, i = [], 0
    while i < len(points):
        rings.append(points[i : ends[i]])
        i = ends[i]
    return rings


def _winding(point: shapely.Point, ring: np.ndarray) -> int:
    """How often a closed ring `[N, 2]` goes round a point."""
    (ax, ay), (bx, by) = (ring[:-1] - (point.x, point.y)).T, (ring[1:] - (point.x, point.y)).T
    return round(float(np.arctan2(ax * by - ay * bx, ax * bx + ay * by).sum() / (2 * np.pi)))
