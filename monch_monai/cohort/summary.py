"""A slide in numbers, and as a picture."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from monch_monai.class_table import ClassTable
from monch_monai.geometry import Mpp, Size
from monch_monai.legend import with_legend
from monch_monai.overlay import draw_lines
from monch_monai.segmentation import counts_by_class, polygons_of, ratio
from monch_monai.slides import Tissue

TISSUE_EDGE = (120, 60, 255)
HALO_MPP = 1.0
"""µm per px of an overview above which a nucleus has less than about 8 px, and a halo would hide others."""


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
        """Counts, densities per mm² of tissue, shares, mean areas in µm², and ratios; None where the divisor is 0.

        `inflammatory_share` is that of all nuclei. `tumour_infiltration` is inflammatory nuclei for each neoplastic one
        and stands for tumour-infiltrating lymphocytes as far as the classes go: inflammatory cells are not only
        lymphocytes, and it does not ask where they lie. A class counts with its parent, and a ratio of what the table
        has no class of is None.
        """
        counted = counts_by_class(self.nuclei[1:].tolist(), self.class_table, tissue_mm2)
        total = counted["nuclei_total"]
        means = {
            c.name: ratio(float(self.area_um2[c.index]), int(self.nuclei[c.index])) for c in self.class_table.nuclei
        }
        return {
            **counted,
            "tissue_mm2": round(tissue_mm2, 6),
            "mean_area_um2": means,
            "ratios": {
                "neoplastic_share": ratio(self._of_pannuke("neoplastic"), total),
                "inflammatory_share": ratio(self._of_pannuke("inflammatory"), total),
                "tumour_infiltration": ratio(self._of_pannuke("inflammatory"), self._of_pannuke("neoplastic")),
            },
        }

    def _of_pannuke(self, name: str) -> int | None:
        indices = [c.index for c in self.class_table.nuclei if c.in_pannuke == name]
        return int(self.nuclei[indices].sum()) if indices else None


class Thumbnail:
    """An overview of the slide, with the tissue's edge and each nucleus's outline in its class's colour.

    Where nuclei are larger than dots, outlines have a halo, as in contour pictures of images.

    Args:
        overview: `[H, W, 3]`.
        size: of the slide, level 0.
        mpp: of level 0.
        tissue: of the slide.
        class_table: the classes.
    """

    def __init__(
        self, overview: NDArray[np.uint8], size: Size, mpp: Mpp, tissue: Tissue, class_table: ClassTable
    ) -> None:
        self.class_table, self.picture = class_table, draw_tissue(overview, tissue)
        height, width = overview.shape[:2]
        self.scale = np.array([width / size.width, height / size.height])
        self.mpp = mpp.x / self.scale[0]
        self.lines = Image.new("L", (width, height))
        self.draw = ImageDraw.Draw(self.lines)

    def add(self, nuclei: pa.Table) -> None:
        """Draws nuclei, as `nuclei_table.SCHEMA`."""
        for shape, index in zip(polygons_of(nuclei), nuclei["class_index"].to_pylist(), strict=True):
            for polygon in shapely.get_parts(shape):
                points = shapely.get_coordinates(polygon.exterior) * self.scale
                self.draw.polygon([(x, y) for x, y in points.tolist()], outline=index)

    def drawn(self, counts: Sequence[int]) -> NDArray[np.uint8]:
        """The picture `[H, W, 3]` with a legend; `counts` are of each class of nuclei."""
        picture, colors = self.picture.copy(), [c.color for c in self.class_table.classes]
        draw_lines(picture, np.asarray(self.lines), colors, halo=int(self.mpp <= HALO_MPP))
        return with_legend(picture, self.class_table, self.mpp, counts)


def draw_tissue(overview: NDArray[np.uint8], tissue: Tissue) -> NDArray[np.uint8]:
    """Copy of an overview `[H, W, 3]` with the tissue's edge."""
    height, width = overview.shape[:2]
    mask = np.asarray(Image.fromarray(tissue.mask).resize((width, height), Image.Resampling.NEAREST))
    drawn = overview.copy()
    drawn[find_boundaries(np.pad(mask, 1), mode="inner")[1:-1, 1:-1]] = TISSUE_EDGE
    return drawn
