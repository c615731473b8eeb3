"""From logits to classes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.class_table import ClassTable
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


class ClassMapd(MapTransform):
    """Dictionary transform of `classify`: logits `[T + D, H, W]` to a class map `[1, H, W]`.

    Args:
        keys: of the logits.
        probs_key: where to keep the probabilities of the nucleus classes, `[T - 1, H, W]` float16; None keeps none.
        class_table: of T classes; needed where the network has a distance map, kept as `distance [D, H, W]` float16.
        softmax: whether the maps `[T, H, W]` compete, as after training by softmax: the class is then that of
            `most_probable_class`, the probabilities are the softmax's, and there is no distance map.
    """

    def __init__(
        self,
        keys: KeysCollection,
        probs_key: str | None = None,
        class_table: ClassTable | None = None,
        softmax: bool = False,
    ) -> None:
        super().__init__(keys)
        self.probs_key, self.softmax = probs_key, softmax
        self.classes = None if class_table is None else len(class_table)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of logits.

        Raises:
            NaNError: a logit is NaN.
        """
        changed = dict(data)
        name = str(getattr(changed.get("image"), "meta", {}).get("filename_or_obj", "an image"))
        for key in self.key_iterator(changed):
            changed[key], probs, distance = self._classified(changed[key], name)
            if self.probs_key is not None:
                changed[self.probs_key], changed["distance"] = probs, distance
        return changed

    def _classified(self, logits: Tensor, name: str) -> Classified:
        if not self.softmax:
            return classify(logits, self.classes, name)
        refuse_nan(logits, name)
        return Classified(most_probable_class(logits), logits.softmax(dim=-3)[..., 1:, :, :].half(), logits[:0].half())
