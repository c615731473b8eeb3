"""The segmentation loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.classes import IGNORE_INDEX


class PerClassBCE(nn.Module):
    """Binary cross-entropy of each class's map, averaged over classes, pixels and images, Eq. (9).

    Args:
        ignore_index: class-map value of pixels that do not count. A batch of nothing else has loss 0.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]` of any integer type.

        Raises:
            ValueError: the sizes differ or `target` holds a value that is neither a class nor the ignore index.
        """
        num_classes = logits.shape[1]
        if target.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ValueError(f"logits are {list(logits.shape)}, their target {list(target.shape)}: sizes must agree")
        index = target.as_subclass(Tensor)[:, 0].long()
        counts = index != self.ignore_index  # [B, H, W]
        index = index.masked_fill(~counts, 0)
        unknown = index[(index >= num_classes) | (index < 0)]
        if unknown.numel():
            raise ValueError(f"target holds class {int(unknown[0])}; classes are 0 to {num_classes - 1}")
        truth = torch.stack([index == c for c in range(num_classes)], dim=1).to(logits.dtype)  # [B, T, H, W]
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
        return (loss * counts).sum() / counts.sum().clamp(min=1)
