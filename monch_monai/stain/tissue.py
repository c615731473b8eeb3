"""Where an image has tissue: the one rule by which slides are searched and optical density is measured.

1. The image is an overview of about 8 µm/px, where nuclei and what lies between them are one.
2. A pixel is tissue where its saturation (the range of its colours over the largest), averaged over 3x3 px, is above a
   threshold, and it is neither black (pen, dust, the edge of the scan) nor ink. The threshold is Otsu's, but never
   below 0.04 or above 0.10: glass is below the one and stained tissue above the other even where an image has nothing
   but tissue, or nothing but glass.
3. Gaps of up to 50 µm are closed, holes of less than 0.01 mm² filled, and pieces of less than `min_area_mm2` dropped.
   In small images a quarter of the image is the largest hole, and a twentieth the smallest piece.
4. Slides are also searched for tissue paler than the threshold, which dark tissue beside it raises: pixels that are
   denser than glass, most so in green, and coloured beside it, in patches of 3x3 px and more. Their density is not
   measured: dark tissue needs lightening whatever lies beside it.

Red pen has the colour of blood, and violet pen that of haematoxylin, so both count as tissue.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, uniform_filter
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from monch_monai.errors import InputError
from monch_monai.settings import flag, fraction
from monch_monai.stain.optical_density import BLACK, LEAST_SATURATION, ink, optical_density

TISSUE_MPP = 8.0
"""µm per pixel of the overview in which tissue is found."""
MOST_SATURATION = 0.10
"""Upper bound of Otsu's threshold; `LEAST_SATURATION` is the lower."""
BINS, PEAK, GLASS_SPREADS = 40, 0.2, 4.0
"""Bins of saturation, the share of the highest peak that glass has, and its spreads from which pale tissue begins."""
PALE_DENSITY, PALE_GREEN = 0.02, 0.9
"""Mean optical density of pale tissue beyond glass, and the least share that green's has of the largest."""
GAP_UM = 50.0
HOLE_MM2 = 0.01


@dataclass(frozen=True)
class TissueRule:
    """Finds the tissue in an overview.

    Args:
        threshold: saturation above which a pixel is tissue, 0 to 1; Otsu's, bounded, when None.
        min_area_mm2: area of the smallest piece kept.

    Raises:
        InputError: the threshold is no number from 0 to 1, or the area is no number of at least 0.
    """

    threshold: float | None = None
    min_area_mm2: float = 0.01

    def __post_init__(self) -> None:
        """Refuses what is no usable number."""
        if self.threshold is not None:
            fraction("tissue_threshold", self.threshold)
        if not isinstance(self.min_area_mm2, int | float) or not self.min_area_mm2 >= 0:
            raise InputError(f"tissue_min_area_mm2 is {self.min_area_mm2!r}; give mm², a number of at least 0")

    def __call__(self, overview: NDArray[np.uint8], um2_per_px: float = TISSUE_MPP**2) -> NDArray[np.bool_]:
        """Mask `[H, W]` of an RGB overview `[H, W, 3]` whose pixels have `um2_per_px` µm²."""
        saturation, inked, black = _saturation(overview)
        threshold = self._threshold(saturation, inked)
        return self._cleaned((saturation > threshold) & ~inked & ~black, um2_per_px)

    def pale(self, overview: NDArray[np.uint8], um2_per_px: float = TISSUE_MPP**2) -> NDArray[np.bool_]:
        """Mask `[H, W]` of tissue that is paler than the threshold; of none where `threshold` is given."""
        if self.threshold is not None:
            return np.zeros(overview.shape[:2], bool)
        saturation, inked, black = _saturation(overview)
        ground = (saturation <= self._threshold(saturation, inked)) & ~inked & ~black
        density = optical_density(overview)
        glass = ground & (np.abs(saturation - _glass(saturation[ground])) <= MOST_SATURATION / BINS)
        if not glass.any():
            return np.zeros(ground.shape, bool)
        glass &= density.mean(axis=2) <= np.quantile(density[glass].mean(axis=1), 0.25)  # not pale tissue of its colour
        density -= np.median(density[glass], axis=0)
        coloured = uniform_filter(1 - np.exp(density.min(axis=2) - density.max(axis=2)), 3)
        least = max(LEAST_SATURATION, float(coloured[glass].mean() + GLASS_SPREADS * coloured[glass].std()))
        stain = (density.mean(axis=2) > PALE_DENSITY) & (density[..., 1] >= density.max(axis=2) * PALE_GREEN)
        return self._cleaned(binary_opening(ground & stain & (coloured > least), np.ones((3, 3))), um2_per_px)

    def used_threshold(self, overview: NDArray[np.uint8]) -> float:
        """The saturation above which pixels of an overview `[H, W, 3]` are tissue."""
        return self._threshold(*_saturation(overview)[:2])

    def _threshold(self, saturation: NDArray[np.float32], inked: NDArray[np.bool_]) -> float:
        return _threshold(saturation[~inked]) if self.threshold is None else self.threshold

    def _cleaned(self, mask: NDArray[np.bool_], um2_per_px: float) -> NDArray[np.bool_]:
        """The mask with its gaps closed, without small holes and pieces."""
        steps = max(1, round(GAP_UM / 2 / np.sqrt(um2_per_px)))
        closed = binary_closing(np.pad(mask, steps), iterations=steps)[steps:-steps, steps:-steps]
        hole = min(HOLE_MM2 * 1e6 / um2_per_px, mask.size / 4)
        piece = min(self.min_area_mm2 * 1e6 / um2_per_px, mask.size / 20)
        return _without_small(~_without_small(~closed, hole), piece)


DEFAULT_RULE = TissueRule()


def tissue_rule(
    tissue: bool | str = True, threshold: float | None = None, min_area_mm2: float = 0.01
) -> TissueRule | None:
    """The rule, or None where a slide is to be searched as a whole.

    Raises:
        InputError: `tissue` is neither true nor false, or a number is not one that `TissueRule` takes.
    """
    rule = TissueRule(threshold, min_area_mm2)
    return rule if flag("tissue", tissue) else None


def _saturation(overview: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Saturation `[H, W]`, averaged over 3x3 px, and masks of the pixels that are ink, and of those that are black."""
    values = overview.astype(np.float32) / 255
    largest, inked = values.max(axis=2), ink(overview)
    saturation = np.where(inked, 0, (largest - values.min(axis=2)) / np.maximum(largest, 1e-6))
    return uniform_filter(saturation, 3), inked, largest <= BLACK


def _threshold(saturation: NDArray[np.float32]) -> float:
    spread = saturation.size > 0 and saturation.min() < saturation.max()
    otsu = float(threshold_otsu(saturation)) if spread else LEAST_SATURATION
    return min(max(otsu, LEAST_SATURATION), MOST_SATURATION)


def _glass(saturation: NDArray[np.float32]) -> float:
    """The saturation of glass: the least at which there is a peak that is a fifth as high as the highest."""
    counts, edges = np.histogram(saturation, BINS, (0, MOST_SATURATION))
    smooth = np.convolve(np.pad(counts, 1, mode="edge"), np.ones(3) / 3, "valid")
    around = np.pad(smooth, 1)
    peaks = (smooth >= around[:-2]) & (smooth >= around[2:]) & (smooth >= PEAK * smooth.max())
    first = int(np.flatnonzero(peaks)[0])  # of an empty image too: all counts are 0 then
    return float(edges[first] + edges[first + 1]) / 2


def _without_small(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """The pieces, connected by edges, of at least `least` pixels, which need not be a whole number."""
    kept: NDArray[np.bool_] = remove_small_objects(mask, max_size=max(0, math.ceil(least) - 1), connectivity=1)
    return kept
