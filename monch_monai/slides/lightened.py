"""Slides as the network sees them: lightened to the tissue that it was trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.geometry import LevelBox, WorkingGrid
from monch_monai.slides.pixels import tissue_overview
from monch_monai.slides.slide import Slide
from monch_monai.slides.tissue import Tissue
from monch_monai.stain import DEFAULT_RULE, TissueRule, lightened, lightening, tissue_density


class LightenedSlide(Slide):
    """A slide with the optical density of each channel multiplied by a factor of `monch_monai.stain.lightening`."""

    def __init__(self, slide: Slide, factors: Sequence[float]) -> None:
        self.slide, self.factors = slide, tuple(factors)
        self.name, self.size, self.mpp = slide.name, slide.size, slide.mpp
        self.sizes, self.downsamples, self.origin = slide.sizes, slide.downsamples, slide.origin

    def _pixels(self, level: int, box: LevelBox) -> NDArray[np.uint8]:
        return lightened(self.slide._pixels(level, box), self.factors)

    def close(self) -> None:
        """Closes the slide."""
        self.slide.close()


def tissue_and_lightening(
    slide: Slide, grid: WorkingGrid, reference_density: Sequence[float] | None, rule: TissueRule | None = DEFAULT_RULE
) -> tuple[Tissue, tuple[float, ...]]:
    """Tissue of a slide, and the factors that lighten it to a reference by the density of that; 1 without a reference.

    The reference is the mean optical density of the tissue trained on, by channel. Where `rule` is None, all of the
    slide is tissue, and its density is measured by the default rule.

    Raises:
        InputError: the slide's file is damaged.
    """
    if rule is None and reference_density is None:
        return Tissue.everywhere(grid), lightening(None, None)
    overview, um2_per_px = tissue_overview(slide, grid)
    mask = (rule or DEFAULT_RULE)(overview, um2_per_px)
    factors = lightening(tissue_density(overview, mask), reference_density)
    return Tissue.everywhere(grid) if rule is None else Tissue.of_mask(mask, grid), factors
