"""The segmentation losses."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.classes import CLASSES, IGNORE_INDEX
from monch_monai.errors import InputError


class PerClassBCE(nn.Module):
    """Binary cross-entropy of each class's map, averaged over classes, pixels and images, Eq. (9).

    Args:
        ignore_index: class-map value of pixels that do not count. A batch of nothing else has loss 0.
        class_weights: weight of each class's map in the mean over classes, background first; None weighs all the same.

    Raises:
        InputError: `class_weights` are not one number of at least 0 for each class, or are all 0.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.register_buffer("shares", None if class_weights is None else _shares(class_weights), persistent=False)
        self.shares: Tensor | None

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]` of any integer type.

        Raises:
            ValueError: the sizes differ or `target` holds a value that is neither a class nor the ignore index.
        """
        truth, counts = one_hot(target, logits, self.ignore_index)
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")  # [B, T, H, W]
        loss = loss.mean(dim=1) if self.shares is None else (loss * self.shares.to(loss)[:, None, None]).sum(dim=1)
        return (loss * counts).sum() / counts.sum().clamp(min=1)


def _shares(weights: Sequence[float]) -> Tensor:
    try:
        given = torch.tensor(weights, dtype=torch.float32)
    except (TypeError, ValueError):
        given = torch.zeros(0)
    if given.shape != (len(CLASSES),) or not given.isfinite().all() or given.min() < 0 or not given.any():
        raise InputError(f"class_weights is {weights!r}; give {len(CLASSES)} numbers of at least 0, background first")
    return given / given.sum()


class BCEAndDice(nn.Module):
    """`PerClassBCE` plus `dice_weight` times the soft Dice loss of the classes that a batch holds.

    Soft Dice of a class is `(2 sum(p y) + 1) / (sum(p) + sum(y) + 1)` over all pixels of the batch that count, `p` the
    sigmoid of its logits (Milletari et al., 2016, with sums in place of squares). A class without a pixel in the batch
    is left out. Rare classes weigh as much as common ones here, unlike in the cross-entropy.

    Args:
        dice_weight: 0 leaves the cross-entropy alone.
        ignore_index: class-map value of pixels that do not count. A batch of nothing else has loss 0.
        class_weights: of the cross-entropy, as in `PerClassBCE`.

    Raises:
        InputError: `class_weights` are not one number of at least 0 for each class, or are all 0.
    """

    def __init__(
        self, dice_weight: float = 0.5, ignore_index: int = IGNORE_INDEX, class_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.bce = PerClassBCE(ignore_index, class_weights)
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]` of any integer type.

        Raises:
            ValueError: the sizes differ or `target` holds a value that is neither a class nor the ignore index.
        """
        truth, counts = one_hot(target, logits, self.bce.ignore_index)
        probs = logits.sigmoid() * counts[:, None]
        both, pixels = (probs * truth).sum((0, 2, 3)), truth.sum((0, 2, 3))  # [T]
        dice = (2 * both + 1) / (probs.sum((0, 2, 3)) + pixels + 1)
        present = pixels > 0
        dice_loss = ((1 - dice) * present).sum() / present.sum().clamp(min=1)
        loss: Tensor = self.bce(logits, target) + self.dice_weight * dice_loss
        return loss


def one_hot(target: Tensor, logits: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Class maps `[B, 1, H, W]` as one map a class, `[B, T, H, W]` of the logits' type, and which pixels count.

    Pixels that do not count, of the second result `[B, H, W]` bool, are 0 in every map.

    Raises:
        ValueError: the sizes differ or `target` holds a value that is neither a class nor the ignore index.
    """
    num_classes = logits.shape[1]
    if target.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ValueError(f"logits are {list(logits.shape)}, their target {list(target.shape)}: sizes must agree")
    index = target.as_subclass(Tensor)[:, 0].long()
    counts = index != ignore_index  # [B, H, W]
    unknown = index[counts & ((index >= num_classes) | (index < 0))]
    if unknown.numel():
        raise ValueError(f"target holds class {int(unknown[0])}; classes are 0 to {num_classes - 1}")
    truth = torch.stack([(index == c) & counts for c in range(num_classes)], dim=1).to(logits.dtype)
    return truth, counts
