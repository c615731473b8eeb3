"""Slides as the network sees them: lightened to the tissue that it was trained on."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.geometry import LevelBox, WorkingGrid
from monch_monai.slides.pixels import tissue_overview
from monch_monai.slides.slide import Slide
from monch_monai.slides.tissue import Tissue
from monch_monai.stain import DEFAULT_RULE, TissueRule, lightened, lightening, tissue_density
from monch_monai.stain.optical_density import LEAST_SATURATION

GREY = 8
"""Largest range of a pixel's colours, of 255, in an overview without colours."""

logger = logging.getLogger(__name__)


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
    slide is tissue, and its density is measured by the default rule. All of a slide is tissue too that is smaller than
    the smallest piece of `rule`. A warning names a slide without tissue, and what to try.

    Raises:
        InputError: the slide's file is damaged.
    """
    if rule is None and reference_density is None:
        return Tissue.everywhere(grid), lightening(None, None)
    overview, um2_per_px = tissue_overview(slide, grid)
    mask = (rule or DEFAULT_RULE)(overview, um2_per_px)
    factors = lightening(tissue_density(overview, mask), reference_density)
    slide_mm2 = slide.size.width * slide.size.height * grid.um2_per_level0_px * 1e-6
    if rule is None or slide_mm2 < rule.min_area_mm2:
        return Tissue.everywhere(grid), factors
    mask |= rule.pale(overview, um2_per_px)
    if not mask.any():
        _warn_of_nothing(slide, rule, overview, slide_mm2)
    return Tissue.of_mask(mask, grid), factors


def _warn_of_nothing(slide: Slide, rule: TissueRule, overview: NDArray[np.uint8], slide_mm2: float) -> None:
    """Warns of a slide without tissue: what was looked for, and what to try."""
    colours = overview.max(axis=-1).astype(int) - overview.min(axis=-1)
    found = f"no pixel of a saturation above {rule.used_threshold(overview):.3g} in pieces of {rule.min_area_mm2:g} mm²"
    if colours.max(initial=0) <= GREY:
        found = "it has no colour, and MONCH needs H&E"
    tries = f"--tissue_threshold {LEAST_SATURATION / 2:g}, --tissue_min_area_mm2 {rule.min_area_mm2 / 10:g}"
    message = "%s: no tissue found in %.3g mm², so no nuclei (%s): see tissue.png, try %s or --tissue false"
    logger.warning(message, slide.name, slide_mm2, found, tries)
