"""Slides as the network sees them: lightened to the tissue that it was trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.geometry import LevelBox, WorkingGrid
from monch_monai.slides.pixels import tissue_overview
from monch_monai.slides.slide import Slide
from monch_monai.stain import DEFAULT_RULE, TissueRule, lightened, lightening, tissue_density


class LightenedSlide(Slide):
    """A slide with the optical density of each colour channel multiplied by a factor.

    Args:
        slide: as it is.
        factors: by channel, as `monch_monai.stain.lightening` returns them.
    """

    def __init__(self, slide: Slide, factors: Sequence[float]) -> None:
        self.slide, self.factors = slide, tuple(factors)
        self.name, self.size, self.mpp = slide.name, slide.size, slide.mpp
        self.sizes, self.downsamples = slide.sizes, slide.downsamples

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        return lightened(self.slide._pixels(level, box), self.factors)

    def close(self) -> None:
        """Closes the slide."""
        self.slide.close()


def slide_lightening(
    slide: Slide, grid: WorkingGrid, reference_density: Sequence[float] | None, rule: TissueRule = DEFAULT_RULE
) -> tuple[float, ...]:
    """Factors that lighten a slide to a reference, by the density of its tissue as a whole; 1 without a reference.

    Args:
        slide: as it is.
        grid: its working pixels.
        reference_density: mean optical density of the tissue trained on, by channel.
        rule: finds the tissue; by default with its own settings.

    Raises:
        InputError: the slide's file is damaged.
    """
    if reference_density is None:
        return lightening(None, None)
    overview, um2_per_px = tissue_overview(slide, grid)
    return lightening(tissue_density(overview, rule(overview, um2_per_px)), reference_density)
