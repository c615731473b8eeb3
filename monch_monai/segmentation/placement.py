"""Where another tool's outlines lie on a slide, by what the slide shows there."""

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.slides import Slide, read_working
from monch_monai.stain.optical_density import LEAST_DENSITY, optical_density

SAMPLE = 200
"""Number of outlines that are looked at."""
LEAST_SHARE = 0.1
"""Share of the outlines on anything but glass below which they are of another slide."""


class Evidence(NamedTuple):
    """Shares of outlines, 0 to 1.

    Attributes:
        inside: on the slide.
        on_tissue: on more than glass.
        darker: darker than what is around them, as nuclei are.
    """

    inside: float
    on_tissue: float
    darker: float


def evidence(polygons: NDArray[np.object_], slide: Slide, grid: WorkingGrid) -> Evidence:
    """What the slide shows at outlines `[N]`, px of level 0; at most `SAMPLE` of them are looked at.

    Raises:
        InputError: the slide's file is damaged there.
    """
    seen = polygons[:: max(1, len(polygons) // SAMPLE)]
    if not len(seen):
        return Evidence(1.0, 1.0, 1.0)
    found = [_look(polygon, slide, grid) for polygon in seen]
    inside, on_tissue, darker = np.array(found, dtype=float).mean(axis=0).tolist()
    return Evidence(inside, on_tissue, darker)


def _look(polygon: shapely.Geometry, slide: Slide, grid: WorkingGrid) -> tuple[bool, bool, bool]:
    here = shapely.transform(polygon, lambda points: points / grid.per_level0)
    if not grid.box.owns(shapely.get_coordinates(here.centroid))[0]:
        return False, False, False
    own = WorkingBox.around(here.bounds)
    box = own.grown(2 + min(40, max(own.width, own.height) // 2)).common(grid.box)
    density = optical_density(read_working(slide, grid, box)).mean(axis=-1)
    x, y = np.meshgrid(np.arange(box.x, box.right) + 0.5, np.arange(box.y, box.bottom) + 0.5)
    held = shapely.contains_xy(here, x, y)
    if not held.any():
        held[min(int(here.centroid.y) - box.y, box.height - 1), min(int(here.centroid.x) - box.x, box.width - 1)] = True
    around = density[~held].mean() if not held.all() else 0.0
    return True, bool(density[held].max() > LEAST_DENSITY), bool(density[held].mean() > around + 0.02)
