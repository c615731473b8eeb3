"""Outlines as formats take them that have one ring a nucleus."""

import numpy as np
import shapely
from numpy.typing import NDArray


def largest_parts(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """K polygons: of outlines in several parts, which only another tool's nuclei can be, the largest part each."""
    several = np.flatnonzero(shapely.get_type_id(geometries) == shapely.GeometryType.MULTIPOLYGON)
    if len(several):
        geometries = geometries.copy()
        for i in several:
            geometries[i] = max(shapely.get_parts(geometries[i]), key=lambda part: float(part.area))
    return geometries


def rings(geometries: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points `[N, 2]` (x, y) of the outer rings of K outlines, and the number of points `[K]` of each.

    The first point of a ring is not repeated at its end. Holes are left out.
    """
    outer = shapely.get_exterior_ring(largest_parts(geometries))
    points, ring = shapely.get_coordinates(outer, return_index=True)
    last = np.append(ring[1:] != ring[:-1], True)[: len(ring)]
    return points[~last], np.bincount(ring[~last], minlength=len(geometries))
