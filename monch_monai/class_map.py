"""From logits to a class map."""

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor


def class_map(logits: Tensor) -> Tensor:
    """Class of each pixel: first whether it is of a nucleus, then of which class.

    A pixel is background where the background's probability is at least one half, else of the most probable nucleus
    class. The paper does not say how its maps become classes. The largest of all would lose a pixel that three
    nucleus classes share to a background that none of them believes in; this rule does not.

    Args:
        logits: `[..., T, H, W]`, background first.

    Returns:
        `[..., 1, H, W]` uint8; ties go to the background, then to the lower class.
    """
    background, nucleus = logits[..., :1, :, :], logits[..., 1:, :, :]
    return torch.where(background >= 0, 0, nucleus.argmax(dim=-3, keepdim=True) + 1).to(torch.uint8)


class ClassMapd(MapTransform):
    """Dictionary transform of `class_map`: logits `[T, H, W]` to a class map `[1, H, W]`.

    Args:
        keys: of the logits.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of logits."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = class_map(changed[key])
        return changed
