"""From logits to classes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.errors import InputError


class NaNError(InputError):
    """The network's logits are NaN: whatever else it computes with these weights is of no use."""


class Prediction(NamedTuple):
    """The class of some pixels, `class_map [..., H, W]` uint8, and the probability of each nucleus class,
    `probs [..., T - 1, H, W]` float16 in [0, 1].
    """

    class_map: NDArray[np.uint8]
    probs: NDArray[np.float16]

    @classmethod
    def empty(cls, height: int, width: int, classes: int) -> "Prediction":
        """Background alone, `[H, W]`, of T classes."""
        return cls(np.zeros((height, width), np.uint8), np.zeros((classes - 1, height, width), np.float16))


def class_map(logits: Tensor) -> Tensor:
    """Class of each pixel: first whether it belongs to a nucleus, then to which class.

    A pixel is background where the background's probability is at least one half, else of the most probable nucleus
    class. The paper does not state how its maps become classes. The largest of all would lose a pixel that three
    nucleus classes share to a background that none of them believes in; this rule does not.

    Args:
        logits: `[..., T, H, W]`, background first.

    Returns:
        `[..., 1, H, W]` uint8; ties go to the background, then to the lower class.
    """
    background, nucleus = logits[..., :1, :, :], logits[..., 1:, :, :]
    return torch.where(background >= 0, 0, nucleus.argmax(dim=-3, keepdim=True) + 1).to(torch.uint8)


def classify(logits: Tensor, name: str = "the network") -> tuple[Tensor, Tensor]:
    """Class map `[..., 1, H, W]` uint8, and probabilities of the nucleus classes `[..., T - 1, H, W]` float16.

    Args:
        logits: `[..., T, H, W]`, background first.
        name: of the image, for messages.

    Raises:
        NaNError: a logit is NaN.
    """
    if torch.isnan(logits).any():
        found = f"{int(torch.isnan(logits).sum())} of {logits.numel()} logits are NaN"
        remedy = "use another checkpoint or --amp false, or train again with a lower learning rate or without amp"
        raise NaNError(f"{name}: {found}; {remedy}")
    return class_map(logits), logits[..., 1:, :, :].sigmoid().half()


class ClassMapd(MapTransform):
    """Dictionary transform of `classify`: logits `[T, H, W]` to a class map `[1, H, W]`.

    Args:
        keys: of the logits.
        probs_key: where to keep the probabilities of the nucleus classes, `[T - 1, H, W]` float16; None keeps none.
    """

    def __init__(self, keys: KeysCollection, probs_key: str | None = None) -> None:
        super().__init__(keys)
        self.probs_key = probs_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of logits.

        Raises:
            NaNError: a logit is NaN.
        """
        changed = dict(data)
        name = str(getattr(changed.get("image"), "meta", {}).get("filename_or_obj", "an image"))
        for key in self.key_iterator(changed):
            changed[key], probs = classify(changed[key], name)
            if self.probs_key is not None:
                changed[self.probs_key] = probs
        return changed
