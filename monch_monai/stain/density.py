"""Optical density of tissue, and how darker images are brought to that of a reference. Numbers only.

Laboratories stain and scan tissue up to twice as dark as one another, and a network takes nuclei of a darkness that it
never saw for background. So a checkpoint records the mean optical density of the tissue it was trained on, its
`reference_density`, and darker images are lightened to it before the network sees them: each colour channel's optical
density (Beer and Lambert, by the natural logarithm) is multiplied by the ratio of both. The idea of bringing an image's
colours to those of a reference by their means is Reinhard's (2001). Paler images stay as they are: on held-out fields
darkening cost more than it gave (`bundle/docs/accuracy.md`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monch_monai.stain.tissue import DEFAULT_RULE, ink, stained

LEAST_PIXELS = 16
"""Pixels of `TISSUE_MPP`, 0.001 mm², below which there is too little tissue to measure."""


def tissue_density(overview: NDArray[np.uint8], tissue: NDArray[np.bool_] | None = None) -> NDArray[np.float64] | None:
    """Mean optical density `[3]`, by channel, of the stained pixels of tissue; None where there are hardly any.

    Args:
        overview: RGB image `[H, W, 3]` at about `TISSUE_MPP`.
        tissue: mask `[H, W]`, by `TissueRule` where it is not given; glass and ink in its closed gaps do not count.
    """
    mask = DEFAULT_RULE(overview) if tissue is None else tissue
    colours = overview[mask & stained(overview) & ~ink(overview)]
    return -np.log((colours + 1.0) / 256).mean(axis=0) if len(colours) >= LEAST_PIXELS else None


def lightening(found: NDArray[np.float64] | None, reference: Sequence[float] | None) -> tuple[float, ...]:
    """What each channel's optical density is to be multiplied by, at most 1; 1 where either argument is None.

    Args:
        found: mean optical density of the image's tissue, by channel.
        reference: the mean optical density, by channel, that the network was trained on.
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
