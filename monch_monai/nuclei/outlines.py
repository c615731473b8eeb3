"""Outlines of nuclei along the edges of their pixels."""

from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.polygon import orient


def outlines(instance_map: NDArray[np.integer]) -> list[shapely.Polygon]:
    """Polygon of each nucleus, exactly around its pixels: that of the pixel in column x, row y has corners x, y and
    x + 1, y + 1, the origin being the image's top left corner, as in QuPath.

    The polygon is the union of the nucleus's runs of pixels, so it is valid and of their area. Of a nucleus in several
    pieces, which the watershed never makes, the largest piece is outlined.

    Args:
        instance_map: `[H, W]`, 0 for background and 1 to K.

    Returns:
        K polygons with whole coordinates in px, the outside counterclockwise by GeoJSON's rule (with y up).
    """
    ids, y, start, stop = _runs(instance_map)
    boxes = shapely.box(start, y, stop, y + 1)
    order = np.argsort(ids, kind="stable")
    ends = np.searchsorted(ids[order], np.arange(1, int(instance_map.max(initial=0)) + 2))
    polygons = []
    for first, last in pairwise(ends):
        union = shapely.simplify(shapely.union_all(boxes[order[first:last]]), 0)
        pieces = shapely.get_parts(union)
        polygons.append(orient(max(pieces, key=lambda piece: float(piece.area))))
    return polygons


def _runs(instance_map: NDArray[np.integer]) -> tuple[NDArray[np.integer], ...]:
    """Id, row, first column and column after the last of each horizontal run of one nucleus's pixels."""
    padded = np.pad(instance_map, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]  # [H, W + 1]: between columns x - 1 and x
    y, x = np.nonzero(changes)
    ids = padded[:, 1:][y, x]  # of the run that begins there
    stops = np.append(x[1:], 0)
    inside = ids > 0
    return ids[inside], y[inside], x[inside], stops[inside]
