"""Pixels that are certainly of no nucleus, where labels leave nuclei out."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.color import rgb2hed

from monch_monai.class_table import IGNORE_INDEX

MOST = 0.02
"""Amount of haematoxylin, by Ruifrok and Johnston's (2001) stain matrix, up to which a pixel may be free of it."""
SHARE_OF_DARK = 0.25
"""The same as a share of the field's 95th percentile, so that pale nuclei count in pale fields."""
SAFE_DISTANCE = 8
"""Distance from any haematoxylin that background has, px of 0.25 µm."""
BLUR = 1.0
"""Standard deviation of the blur against noise, px."""


def free_of_haematoxylin(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask `[H, W]` of the pixels of an RGB image `[H, W, 3]` at 0.25 µm/px that are certainly of no nucleus.

    A pixel is free where its haematoxylin is at most the lesser of `MOST` and `SHARE_OF_DARK` of the field's 95th
    percentile. Certain are free pixels farther than `SAFE_DISTANCE` from all that are not.

    Measured on exhaustive labels: in 27 fields of MoNuSeg 12.6 % of the background is found so, and 0.05 % of what is
    found is a nucleus's. In 14 fields of CoNSeP these are 9.4 % and 0.002 %, in 8 of breast 1.8 % and none. In the
    worst field 0.4 % of the nuclei's pixels are taken. Without the percentile they would be 5.4 %.
    """
    amount = gaussian_filter(rgb2hed(image)[..., 0], BLUR)
    free = amount <= min(MOST, SHARE_OF_DARK * float(np.percentile(amount, 95)))
    certain: NDArray[np.bool_] = free if free.all() else distance_transform_edt(free) > SAFE_DISTANCE
    return certain


def without_unlabelled(
    image: NDArray[np.uint8], classes: NDArray[np.uint8], instances: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Class map `[H, W]` in which pixels without a nucleus are 255 unless they are certainly of none."""
    unknown = (instances == 0) & ~free_of_haematoxylin(image)
    return np.where(unknown, np.uint8(IGNORE_INDEX), classes)
