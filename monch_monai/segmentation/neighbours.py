"""Each nucleus's neighbours: how near the nearest is, and how many of each class are around it."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import KDTree

from monch_monai.class_table import ClassTable
from monch_monai.geometry import Mpp
from monch_monai.segmentation.quantities import RADIUS_UM


class Neighbourhood:
    """The centroids of all nuclei of a slide, by class: 17 bytes a nucleus and the trees over them are in memory.

    Args:
        tables: all nuclei of the slide, in tables of `SCHEMA`.
        class_table: their classes.
        mpp: of level 0.
    """

    def __init__(self, tables: Iterable[pa.Table], class_table: ClassTable, mpp: Mpp) -> None:
        self.mpp, self.class_table = mpp, class_table
        places, classes = [np.zeros((0, 2))], [np.zeros(0, np.uint8)]
        for table in tables:
            places.append(self._places(table))
            classes.append(table["class_index"].to_numpy())
        of_all, indices = np.concatenate(places), np.concatenate(classes)
        self.trees = {
            c.name: KDTree(of_class) for c in class_table.nuclei if len(of_class := of_all[indices == c.index])
        }

    def columns(self, nuclei: pa.Table) -> dict[str, NDArray[np.float64]]:
        """Of some of the nuclei: distances in µm between centroids, to the nearest nucleus and to the nearest of each
        class, NaN where there is none; and how many of each class are within `RADIUS_UM`. Never the nucleus itself.
        """
        places, classes = self._places(nuclei), nuclei["class_index"].to_numpy()
        nearest, counts = {}, {}
        for c in self.class_table.nuclei:
            own, tree = classes == c.index, self.trees.get(c.name)
            distance, count = np.full(len(places), np.nan), np.zeros(len(places))
            if tree is not None and len(places):
                two = tree.query(places, k=2)[0]  # of its own class a nucleus finds itself first
                distance = np.where(own, two[:, 1], two[:, 0])
                count = tree.query_ball_point(places, RADIUS_UM, return_length=True) - own
            nearest[f"nearest_{c.name}_um"] = np.where(np.isfinite(distance), distance, np.nan)
            counts[f"near_{c.name}"] = np.asarray(count, np.float64)
        of_any = np.fmin.reduce([*nearest.values()], initial=np.nan)
        return {"nearest_um": of_any, **nearest, **counts}

    def _places(self, nuclei: pa.Table) -> NDArray[np.float64]:
        """Centroids `[K, 2]` in µm."""
        return np.stack([nuclei["x"].to_numpy() * self.mpp.x, nuclei["y"].to_numpy() * self.mpp.y], axis=1)
