"""Predictions: from logits to classes."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.errors import InputError


class NaNError(InputError):
    """The network's logits are NaN: whatever else it computes with these weights is of no use."""


class Prediction(NamedTuple):
    """The class of some pixels, `class_map [..., H, W]` uint8, and the probability of each nucleus class,
    `probs [..., T - 1, H, W]` float16 in [0, 1].

    `distance [..., D, H, W]` float16 is the normalised distance to the nucleus's edge; D is 1 for networks that have
    such a map, else 0.
    """

    class_map: NDArray[np.uint8]
    probs: NDArray[np.float16]
    distance: NDArray[np.float16]

    @classmethod
    def of_classes(cls, class_map: NDArray[np.uint8], probs: NDArray[np.float16]) -> "Prediction":
        """The prediction of a network without a distance map."""
        return cls(class_map, probs, probs[..., :0, :, :])

    @classmethod
    def empty(cls, height: int, width: int, classes: int) -> "Prediction":
        """Background alone, `[H, W]`, of T classes."""
        return cls.of_classes(np.zeros((height, width), np.uint8), np.zeros((classes - 1, height, width), np.float16))


def class_map(logits: Tensor, classes: int | None = None) -> Tensor:
    """Class of each pixel: first whether it belongs to a nucleus, then to which class.

    A pixel is background where the background's probability is at least one half, else of the most probable nucleus
    class. The paper does not state how its maps become classes. The largest of all would lose a pixel that three
    nucleus classes share to a background that none of them believes in; this rule does not.

    Args:
        logits: `[..., T + D, H, W]`, background first.
        classes: T; None where there is no distance map.

    Returns:
        `[..., 1, H, W]` uint8; ties go to the background, then to the lower class.
    """
    background, nucleus = logits[..., :1, :, :], logits[..., 1:classes, :, :]
    return torch.where(background >= 0, 0, nucleus.argmax(dim=-3, keepdim=True) + 1).to(torch.uint8)


def most_probable_class(logits: Tensor) -> Tensor:
    """Class of each pixel of networks trained by softmax: that of the largest logit.

    Args:
        logits: `[..., T, H, W]`, background first.

    Returns:
        `[..., 1, H, W]` uint8; ties go to the lower class.
    """
    return logits.argmax(dim=-3, keepdim=True).to(torch.uint8)


class Classified(NamedTuple):
    """Class map `[..., 1, H, W]` uint8, probabilities of the nucleus classes `[..., T - 1, H, W]` float16, and the
    distance `[..., D, H, W]` float16.
    """

    class_map: Tensor
    probs: Tensor
    distance: Tensor


def classify(logits: Tensor, classes: int | None = None, name: str = "the network") -> Classified:
    """What logits state.

    Args:
        logits: `[..., T + D, H, W]`, background first, the distance map last where the network has one.
        classes: T; None where there is no distance map.
        name: of the image, for messages.

    Raises:
        NaNError: a logit is NaN.
    """
    refuse_nan(logits, name)
    probs, distance = logits[..., 1:classes, :, :], logits[..., classes or logits.shape[-3] :, :, :]
    return Classified(class_map(logits, classes), probs.sigmoid().half(), distance.sigmoid().half())


def refuse_nan(logits: Tensor, name: str) -> None:
    """Refuses maps `[..., H, W]` of the image `name` that no weights should give.

    Raises:
        NaNError: a logit is NaN.
    """
    if torch.isnan(logits).any():
        found = f"{int(torch.isnan(logits).sum())} of {logits.numel()} logits are NaN"
        remedy = "use another checkpoint or --amp false, or train again with a lower learning rate or without amp"
        raise NaNError(f"{name}: {found}; {remedy}")
