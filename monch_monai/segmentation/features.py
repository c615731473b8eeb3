"""Features of single nuclei that people compute next: shape, and haematoxylin in the nucleus."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.measure import regionprops_table

from monch_monai.geometry import Level0Box, WorkingBox, WorkingGrid
from monch_monai.nuclei import covered
from monch_monai.segmentation.neighbours import Neighbourhood
from monch_monai.segmentation.quantities import SHAPE, STAIN
from monch_monai.slides import Slide, read_working

MEASURED = (
    "perimeter", "equivalent_diameter_area", "axis_major_length", "axis_minor_length", "orientation", "eccentricity",
    "solidity", "extent", "intensity_mean", "intensity_std", "intensity_min", "intensity_max",
)  # fmt: skip
"""skimage's names of `SHAPE` and `STAIN`, in their order."""
TO_DENSITY = 6.0
"""From what `skimage.color.rgb2hed` returns, logarithms to the base 1e-6, to decimal optical density."""
STRIPE = 256
"""Rows whose colours are in memory as floating-point numbers at once."""


class Features:
    """Adds the columns of `feature_quantities` to tables of nuclei.

    Shape and stain are of the working pixels whose centres the outline holds; where it holds none they are null.
    Haematoxylin is the decimal optical density of the slide as it is (not lightened) along Ruifrok and Johnston's
    (2001) vector. Perimeter, axes and moments are skimage's, at the working grid's mean resolution.

    Args:
        slide: as it is in its file.
        grid: its working pixels.
        neighbours: of all its nuclei.
    """

    def __init__(self, slide: Slide, grid: WorkingGrid, neighbours: Neighbourhood) -> None:
        self.slide, self.grid, self.neighbours = slide, grid, neighbours

    def __call__(self, nuclei: pa.Table) -> pa.Table:
        """Nuclei of one region, of `SCHEMA`, with their features.

        Raises:
            InputError: the slide's file is damaged there.
        """
        scale = self.grid.per_level0
        polygons = shapely.from_wkb(nuclei["geometry"].to_numpy())
        working = shapely.transform(polygons, lambda points: points / scale)
        columns = {quantity.column: np.full(len(working), np.nan) for quantity in (*SHAPE, *STAIN)}
        if len(working):
            hull = WorkingBox.around(shapely.total_bounds(working)).common(self.grid.box)
            density = haematoxylin(read_working(self.slide, self.grid, hull))
            for ids, labels in _layers(working, hull):
                side = self.grid.mpp.mean
                found = regionprops_table(labels, density, MEASURED, spacing=(side, side))
                for name, column in zip(MEASURED, columns.values(), strict=True):
                    column[ids] = found[name]
        for name, column in {**columns, **self.neighbours.columns(nuclei)}.items():
            rounded = pa.array(column.round(4), pa.float64(), from_pandas=True)
            nuclei = nuclei.append_column(name, rounded)
        return nuclei


def haematoxylin(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decimal optical density of haematoxylin `[H, W]` of RGB pixels `[H, W, 3]`, not below 0."""
    density = np.empty(pixels.shape[:2], np.float32)
    for row in range(0, len(density), STRIPE):
        stripe = pixels[row : row + STRIPE].astype(np.float32) / 255
        density[row : row + STRIPE] = rgb2hed(stripe)[..., 0] * TO_DENSITY
    return density


def _layers(polygons: NDArray[np.object_], box: WorkingBox) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Outlines drawn into a box `[H, W]`, as many times as it takes that none covers another: places in `polygons` of
    the labels 1, 2, … of each drawing. Only another tool's outlines overlap.
    """
    left = np.arange(len(polygons))
    while len(left):
        labels, drawn, waiting = np.zeros((box.height, box.width), np.int32), [], []
        for i in left.tolist():
            part = WorkingBox.around(polygons[i].bounds).common(box)
            inside = covered(polygons[i], Level0Box(*part))
            window = labels[part.within(box)]
            if window[inside].any():
                waiting.append(i)
            elif inside.any():
                drawn.append(i)
                window[inside] = len(drawn)
        if drawn:
            yield np.array(drawn), labels
        left = np.array(waiting, dtype=np.int64)
