"""Star-convex polygons of nuclei, and back, by the package stardist (Schmidt et al., 2018; Weigert et al., 2020)."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from skimage.measure import label

from monch_monai.baselines.cppnet.network import RAYS
from monch_monai.errors import InputError

LEAST_DISTANCE = 1e-3
"""Of a ray, px, which stardist needs above 0."""


class CppNetTruthd(MapTransform):
    """Dictionary transform of instance maps `[1, H, W]` to CPP-Net's truth beside the classes, `[1 + 32, H, W]`.

    First is the probability to be a centre, the distance to the background over the nucleus's largest; then the
    distances along the rays to the nucleus's edge, px. Each connected piece is a nucleus of its own: an augmentation
    that mirrors one at the tile's edge makes two.

    Raises:
        InputError: the package stardist is not installed.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        require_stardist()

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with probabilities and distances in place of instance maps."""
        from stardist.geometry import star_dist
        from stardist.utils import edt_prob

        changed = dict(data)
        for key in self.key_iterator(changed):
            pieces = label(torch.as_tensor(changed[key])[0].int().numpy(), connectivity=1)
            truth = [edt_prob(pieces)[None], np.moveaxis(star_dist(pieces.astype(np.int32), RAYS), -1, 0)]
            changed[key] = MetaTensor(torch.from_numpy(np.concatenate(truth).astype(np.float32)))
        return changed


def polygons(probability: NDArray[np.float32], distances: NDArray[np.float32], least: float) -> NDArray[np.int32]:
    """Nuclei `[H, W]` by the polygons that remain when the less probable of each overlapping two are left out.

    Args:
        probability: to be a centre, `[H, W]`.
        distances: px, `[32, H, W]`.
        least: probability of a polygon that counts.
    """
    from stardist.geometry import polygons_to_label
    from stardist.nms import non_maximum_suppression

    rays = np.ascontiguousarray(np.moveaxis(np.maximum(distances, LEAST_DISTANCE), 0, -1))
    if not (probability > least).any():
        return np.zeros(probability.shape, np.int32)
    points, scores, lengths = non_maximum_suppression(rays, probability, prob_thresh=least)
    found: NDArray[np.int32] = polygons_to_label(lengths, points, probability.shape, prob=scores).astype(np.int32)
    return found


def require_stardist() -> None:
    """Refuses to go on without the package that makes polygons.

    Raises:
        InputError: the package stardist is not installed.
    """
    if importlib.util.find_spec("stardist") is None:
        raise InputError("CPP-Net needs the package stardist: pip install stardist")
