"""A slide and how it is cut up."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monch_monai
from monch_monai.geometry import WorkingGrid
from monch_monai.predict import Lattice
from monch_monai.segmentation.regions import Region, regions
from monch_monai.slides import LightenedSlide, Slide, Tissue


@dataclass(frozen=True)
class Plan:
    """A slide and how it is cut up.

    Attributes:
        slide: open.
        lightening: factors of its optical density, by channel, for the network.
        grid: its working pixels.
        tissue: where nuclei are reported.
        searched: tissue and a margin around it, where the network runs.
        lattice: of the tiles.
        side: of a region's core, working px.
    """

    slide: Slide
    lightening: tuple[float, ...]
    grid: WorkingGrid
    tissue: Tissue
    searched: Tissue
    lattice: Lattice
    side: int

    @property
    def lightened(self) -> Slide:
        """The slide as the network sees it."""
        return LightenedSlide(self.slide, self.lightening)

    def regions(self) -> Iterator[Region]:
        """Regions with tissue, row by row, each with the tiles that are in or near tissue."""
        for region in regions(self.grid.box, self.grid, self.lattice, self.side, self.searched.touches):
            if self.tissue.touches(region.core):
                yield region

    def tiles(self) -> int:
        """Number of tiles to run."""
        return len({cell[0] << 32 | cell[1] for region in self.regions() for cell in region.cells})

    def about(self) -> dict[str, Any]:
        """What every output states of its origin: `origin_in_file` is where its level 0 begins in the file's."""
        source = self.slide.resolution
        return {
            "software": f"MONCH {monch_monai.__version__}",
            "slide": Path(self.slide.name).name,
            "origin_in_file": list(self.slide.origin),
            "source_mpp": [source.x, source.y],
            "working_mpp": [self.grid.mpp.x, self.grid.mpp.y],
            "level0_px_per_working_px": list(self.grid.per_level0),
            "optical_density_times": [round(factor, 3) for factor in self.lightening],
        }

    def own_cells(self, region: Region) -> int:
        """Number of tiles of a region whose cell begins in its core: each tile is one region's."""
        core = region.core
        boxes = (self.lattice.cell(cell) for cell in region.cells)
        return sum(core.x <= box.x < core.right and core.y <= box.y < core.bottom for box in boxes)
