"""Outlines of nuclei back as pixels."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from monch_monai.geometry import Level0Box


def rasterise(polygons: Sequence[shapely.Geometry], box: Level0Box) -> NDArray[np.int32]:
    """Instance map `[h, w]` of a box: each pixel has the number, from 1, of the last polygon that holds its centre.

    The inverse of `outlines`: what that outlined comes back to the pixel.

    Args:
        polygons: K outlines, px of the image.
        box: part of the image to draw.
    """
    instance_map = np.zeros((box.height, box.width), np.int32)
    for number, polygon in enumerate(polygons, start=1):
        if not polygon.is_empty:
            part = Level0Box.around(polygon.bounds).common(box)
            instance_map[part.within(box)][covered(polygon, part)] = number
    return instance_map


def covered(polygon: shapely.Geometry, box: Level0Box) -> NDArray[np.bool_]:
    """Mask `[h, w]` of the pixels of a box whose centres a polygon holds."""
    shapely.prepare(polygon)
    rows, columns = np.mgrid[box.y : box.bottom, box.x : box.right] + 0.5
    inside: NDArray[np.bool_] = shapely.contains_xy(polygon, columns, rows)
    return inside
