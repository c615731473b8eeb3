"""A slide in numbers, and as a picture."""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from monch_monai.class_table import ClassTable
from monch_monai.geometry import Size
from monch_monai.segmentation import polygons_of
from monch_monai.slides import Tissue

TISSUE_EDGE = (120, 60, 255)


class Counts:
    """Nuclei by class, added up.

    Args:
        class_table: the classes.
    """

    def __init__(self, class_table: ClassTable) -> None:
        self.class_table = class_table
        self.nuclei = np.zeros(len(class_table), np.int64)
        self.area_um2 = np.zeros(len(class_table))

    def add(self, nuclei: pa.Table) -> None:
        """Counts nuclei, as `nuclei_table.SCHEMA`."""
        classes = nuclei["class_index"].to_numpy()
        self.nuclei += np.bincount(classes, minlength=len(self.class_table))
        self.area_um2 += np.bincount(classes, nuclei["area_um2"].to_numpy(), minlength=len(self.class_table))

    def as_dict(self, tissue_mm2: float) -> dict[str, object]:
        """Counts, densities per mm² of tissue, mean areas in µm², and ratios; None where the divisor is 0.

        `inflammatory_share` is that of all nuclei. `tumour_infiltration` is inflammatory nuclei for each neoplastic one
        and stands for tumour-infiltrating lymphocytes as far as the classes go: inflammatory cells are not only
        lymphocytes, and it does not ask where they lie. A class counts with its parent, and a ratio of what the table
        has no class of is None.
        """
        total = int(self.nuclei.sum())
        by_class = {c.name: int(self.nuclei[c.index]) for c in self.class_table.nuclei}
        means = {
            c.name: _ratio(float(self.area_um2[c.index]), int(self.nuclei[c.index])) for c in self.class_table.nuclei
        }
        return {
            "nuclei": by_class,
            "nuclei_total": total,
            "tissue_mm2": round(tissue_mm2, 6),
            "per_mm2": {name: _ratio(count, tissue_mm2) for name, count in by_class.items()},
            "per_mm2_total": _ratio(total, tissue_mm2),
            "mean_area_um2": means,
            "ratios": {
                "neoplastic_share": _ratio(self._of_pannuke("neoplastic"), total),
                "inflammatory_share": _ratio(self._of_pannuke("inflammatory"), total),
                "tumour_infiltration": _ratio(self._of_pannuke("inflammatory"), self._of_pannuke("neoplastic")),
            },
        }

    def _of_pannuke(self, name: str) -> int | None:
        indices = [c.index for c in self.class_table.nuclei if c.in_pannuke == name]
        return int(self.nuclei[indices].sum()) if indices else None


class Thumbnail:
    """An overview of the slide, with the tissue's edge and each nucleus's outline in its class's colour.

    Args:
        overview: `[H, W, 3]`.
        size: of the slide, level 0.
        tissue: of the slide.
        class_table: the classes.
    """

    def __init__(self, overview: NDArray[np.uint8], size: Size, tissue: Tissue, class_table: ClassTable) -> None:
        self.classes = class_table.classes
        height, width = overview.shape[:2]
        self.scale = np.array([width / size.width, height / size.height])
        self.picture = Image.fromarray(draw_tissue(overview, tissue))
        self.draw = ImageDraw.Draw(self.picture)

    def add(self, nuclei: pa.Table) -> None:
        """Draws nuclei, as `nuclei_table.SCHEMA`."""
        for shape, index in zip(polygons_of(nuclei), nuclei["class_index"].to_pylist(), strict=True):
            for polygon in shapely.get_parts(shape):
                points = shapely.get_coordinates(polygon.exterior) * self.scale
                self.draw.polygon([(x, y) for x, y in points.tolist()], outline=self.classes[index].color)


def draw_tissue(overview: NDArray[np.uint8], tissue: Tissue) -> NDArray[np.uint8]:
    """Copy of an overview `[H, W, 3]` with the tissue's edge."""
    height, width = overview.shape[:2]
    mask = np.asarray(Image.fromarray(tissue.mask).resize((width, height), Image.Resampling.NEAREST))
    drawn = overview.copy()
    drawn[find_boundaries(np.pad(mask, 1), mode="inner")[1:-1, 1:-1]] = TISSUE_EDGE
    return drawn


def _ratio(part: float | None, whole: float | None) -> float | None:
    return round(part / whole, 4) if whole and part is not None else None
