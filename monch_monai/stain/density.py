"""Optical density of tissue, and how darker images are brought to that of a reference. Numbers only.

Laboratories stain and scan tissue up to twice as dark as one another, and a network takes nuclei of a darkness that it
never saw for background. So a checkpoint records the optical density of the tissue it was trained on, its
`reference_density`, and darker images are lightened to it before the network sees them. Each colour channel's optical
density (Beer and Lambert, by the natural logarithm) is multiplied by the ratio of both. The idea of bringing an image's
colours to those of a reference is Reinhard's (2001). Paler images stay as they are: on held-out fields
darkening cost more than it gave (`bundle/docs/accuracy.md`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monch_monai.stain.optical_density import measurable, optical_density
from monch_monai.stain.tissue import DEFAULT_RULE

SQUARE = 4
"""Side of the squares whose median is the image's density: 32 µm, in pixels of `TISSUE_MPP`."""
LEAST_PIXELS = 16
"""Pixels of `TISSUE_MPP`, 0.001 mm², below which there is too little tissue to measure."""


def tissue_density(overview: NDArray[np.uint8], tissue: NDArray[np.bool_] | None = None) -> NDArray[np.float64] | None:
    """Optical density `[3]` of tissue, by channel: the median of its squares' means; None where there is hardly any.

    Squares of 32 µm count whose pixels are at least half measurable tissue. Their median holds where pen was drawn over
    a part of the tissue by an ink that no rule of colours parts from it. Where no square counts, the mean of all
    measurable pixels is the density.

    Args:
        overview: RGB image `[H, W, 3]` at about `TISSUE_MPP`.
        tissue: mask `[H, W]`, by `TissueRule` where it is not given; glass and ink in its closed gaps do not count.
    """
    mask = (DEFAULT_RULE(overview) if tissue is None else tissue) & measurable(overview)
    if mask.sum() < LEAST_PIXELS:
        return None
    pixels, sums = _by_square(mask[..., None]), _by_square(optical_density(overview) * mask[..., None])
    counted = pixels[:, 0] >= SQUARE**2 / 2
    if not counted.any():
        return np.asarray(sums.sum(axis=0) / pixels.sum())
    return np.asarray(np.median(sums[counted] / pixels[counted], axis=0))


def _by_square(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Sums `[N, C]` of values `[H, W, C]` over squares; those at the lower and right edges may be cut."""
    rows, columns = (np.arange(0, n, SQUARE) for n in values.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(values.astype(float), rows, axis=0), columns, axis=1)
    return sums.reshape(-1, values.shape[2])


def lightening(found: NDArray[np.float64] | None, reference: Sequence[float] | None) -> tuple[float, ...]:
    """What each channel's optical density is to be multiplied by, at most 1; 1 where either argument is None.

    Args:
        found: optical density of the image's tissue, by channel.
        reference: the optical density, by channel, that the network was trained on.
    """
    if found is None or reference is None:
        return 1.0, 1.0, 1.0
    return tuple(min(1.0, float(wanted / has)) for wanted, has in zip(reference, found, strict=True))


def lightened(image: NDArray[np.uint8], factors: Sequence[float]) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` with each channel's optical density multiplied by its factor."""
    if all(factor == 1 for factor in factors):
        return image
    values = np.arange(256) / 255
    tables = [255 * values**factor for factor in factors]  # exp(-factor * od) is a power of exp(-od)
    return np.asarray(Image.fromarray(image).point(np.concatenate(tables).round().astype(int).tolist()))
