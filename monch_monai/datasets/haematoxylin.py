"""Pixels that are certainly of no nucleus, where labels leave nuclei out."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.color import rgb2hed

from monch_monai.class_table import IGNORE_INDEX

MOST = 0.02
"""Amount of haematoxylin, by Ruifrok and Johnston's (2001) stain matrix, up to which a pixel may be free of it."""
DARK, SHARE_OF_DARK = 99.5, 0.15
"""The same as a share of the field's percentile `DARK`, so that pale nuclei count in pale fields."""
SAFE_DISTANCE = 8
"""Distance from any haematoxylin that background has, px of 0.25 µm."""
BLUR = 1.0
"""Standard deviation of the blur against noise, px."""


def free_of_haematoxylin(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask `[H, W]` of the pixels of an RGB image `[H, W, 3]` at 0.25 µm/px that are certainly of no nucleus.

    A pixel is free where its haematoxylin is at most the lesser of `MOST` and `SHARE_OF_DARK` of the field's
    percentile `DARK`. Certain are free pixels farther than `SAFE_DISTANCE` from all that are not.

    Measured on exhaustive labels: in 27 fields of MoNuSeg 12.6 % of the background is found so, and 0.06 % of what is
    found is a nucleus's. In 14 fields of CoNSeP these are 19.8 % and 0.001 %. In 8 of breast and 22 of glioma hardly
    anything is found, and nothing of a nucleus. In the worst field 0.5 % of the nuclei's pixels are taken; without
    the percentile they would be 5.4 %.
    """
    amount = gaussian_filter(rgb2hed(image)[..., 0], BLUR)
    free = amount <= min(MOST, SHARE_OF_DARK * float(np.percentile(amount, DARK)))
    certain: NDArray[np.bool_] = free if free.all() else distance_transform_edt(free) > SAFE_DISTANCE
    return certain


def without_unlabelled(
    image: NDArray[np.uint8], classes: NDArray[np.uint8], instances: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Class map `[H, W]` in which pixels without a nucleus are 255 unless they are certainly of none."""
    unknown = (instances == 0) & ~free_of_haematoxylin(image)
    return np.where(unknown, np.uint8(IGNORE_INDEX), classes)
