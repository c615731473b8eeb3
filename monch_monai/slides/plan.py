"""What is to be done of a slide."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monch_monai
from monch_monai.slides.geometry import Grid, Mpp
from monch_monai.slides.segment import Region, regions
from monch_monai.slides.slide import LightenedSlide, Slide
from monch_monai.slides.tiling import Lattice
from monch_monai.slides.tissue import Tissue


@dataclass(frozen=True)
class Plan:
    """A slide, and how it is cut up.

    Attributes:
        slide: open.
        lightening: factors of its optical density, by channel, for the network.
        source_mpp: of level 0.
        grid: the working grid.
        tissue: where nuclei are reported.
        grown: tissue and a margin around it, where the network runs.
        lattice: of the tiles.
        side: of a region's core, working px.
    """

    slide: Slide
    lightening: tuple[float, ...]
    source_mpp: Mpp
    grid: Grid
    tissue: Tissue
    grown: Tissue
    lattice: Lattice
    side: int

    @property
    def seen(self) -> Slide:
        """The slide as the network sees it."""
        return LightenedSlide(self.slide, self.lightening)

    def regions(self) -> Iterator[Region]:
        """Regions with tissue, row by row, each with the tiles that are in or near tissue."""
        for region in regions(self.grid.box, self.grid, self.lattice, self.side, self.grown.touches):
            if self.tissue.touches(region.core):
                yield region

    def tiles(self) -> int:
        """Number of tiles to run."""
        return len({cell[0] << 32 | cell[1] for region in self.regions() for cell in region.cells})

    def about(self) -> dict[str, Any]:
        """What every output says of its origin."""
        return {
            "software": f"MONCH {monch_monai.__version__}",
            "slide": Path(self.slide.name).name,
            "source_mpp": [self.source_mpp.x, self.source_mpp.y],
            "working_mpp": [self.grid.mpp.x, self.grid.mpp.y],
            "level0_px_per_working_px": list(self.grid.per_level0),
            "optical_density_times": [round(factor, 3) for factor in self.lightening],
        }

    def own_cells(self, region: Region) -> int:
        """Number of tiles of a region whose cell begins in its core: each tile is one region's."""
        core = region.core
        boxes = (self.lattice.cell(cell) for cell in region.cells)
        return sum(core.x <= box.x < core.right and core.y <= box.y < core.bottom for box in boxes)
