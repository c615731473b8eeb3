"""What makes nuclei of a prediction."""

from typing import Any, Protocol

import pyarrow as pa

from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.predict import Prediction
from monch_monai.slides import Slide


class NucleusFinder(Protocol):
    """Makes nuclei of the prediction of a region.

    Attributes:
        originals: GeoJSON Features of one slide's nuclei, which outputs keep, by a nucleus's `source`; None where
            nuclei are found and not given.
        settings: what the nuclei depend on, by name.
        report: what a slide's summary states of nuclei that were given; empty where they are found.
    """

    originals: dict[int, dict[str, Any]] | None
    settings: dict[str, Any]
    report: dict[str, Any]

    def added_tissue(self, slide: Slide, grid: WorkingGrid) -> list[WorkingBox]:
        """Places given nuclei on a slide; returns boxes that count as tissue whatever they look like."""

    def part(self, core: WorkingBox, grid: WorkingGrid) -> "NucleusFinder":
        """The finder as far as a core needs it, to be sent to a worker process."""

    def __call__(self, view: Prediction, view_box: WorkingBox, core: WorkingBox, grid: WorkingGrid) -> pa.Table:
        """Nuclei whose centroid lies in the core, as `nuclei_table.SCHEMA`.

        A nucleus is whole, because the view reaches further than half a nucleus beyond the core. Neighbouring cores
        see the same nucleus with the same centroid and leave it out.

        Args:
            view: prediction `[H, W]` of the core and a margin around it.
            view_box: where that lies.
            core: the part to report nuclei of.
            grid: the working pixels.
        """
