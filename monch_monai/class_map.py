"""From logits to a class map."""

from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from monch_monai.errors import InputError


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
        probs_key: where to keep the probabilities of the nucleus classes, `[T - 1, H, W]` float16 in [0, 1]: the
            sigmoid of each class's logits. None keeps none.
    """

    def __init__(self, keys: KeysCollection, probs_key: str | None = None) -> None:
        super().__init__(keys)
        self.probs_key = probs_key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of logits.

        Raises:
            InputError: a logit is not a number.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            logits = changed[key]
            if torch.isnan(logits).any():
                image = getattr(changed.get("image"), "meta", {}).get("filename_or_obj", "an image")
                raise InputError(
                    f"{image}: {int(torch.isnan(logits).sum())} of {logits.numel()} logits are NaN; "
                    "use another checkpoint, or train with a lower learning rate or without amp"
                )
            changed[key] = class_map(logits)
            if self.probs_key is not None:
                changed[self.probs_key] = logits[1:].sigmoid().half()
        return changed
