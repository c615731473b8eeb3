"""CPP-Net's loss."""

import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.baselines.cppnet.network import RAYS
from monch_monai.class_table import LabelSets
from monch_monai.losses import one_hot, several_of


class CppNetLoss(nn.Module):
    """The sum of CPP-Net's losses with equal weights, of the maps of `CppNet`.

    - Distances, coarse and refined: the mean absolute difference, px, weighted by the true probability.
    - Probability: binary cross-entropy.
    - Classes: cross-entropy plus soft Dice of the softmax.

    Pixels of 255 do not count; those of several classes not for the classes.

    Deviation: the shape-aware perceptual loss is left out, as in the authors' training on PanNuke.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
    """

    def __init__(self, labels: LabelSets | None = None) -> None:
        super().__init__()
        self.several = several_of(labels)

    def forward(self, maps: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar.

        Args:
            maps: `[B, 1 + 32 + 32 + T, H, W]`.
            target: `[B, 1 + 1 + 32, H, W]`, the class map, and probability and distances of `CppNetTruthd`.

        Raises:
            ValueError: the sizes differ, or the class map holds a value that is neither a label nor 255.
        """
        centre, coarse, refined, logits = maps.float().split([1, RAYS, RAYS, maps.shape[1] - 1 - 2 * RAYS], dim=1)
        truth, counts = one_hot(target[:, :1], logits, self.several)
        probability, distances = target.as_subclass(Tensor)[:, 1:].to(maps.device).float().split([1, RAYS], dim=1)
        counted = counts[:, None].float()
        weights = probability * counted / (RAYS * (probability * counted).sum()).clamp(min=1)
        of_distances = sum((weights * (d - distances).abs()).sum() for d in (coarse, refined))
        bce = F.binary_cross_entropy_with_logits(centre, probability, reduction="none")
        of_centres = (counted * bce).sum() / counted.sum().clamp(min=1)
        known = truth.sum(dim=1, keepdim=True)
        ce = -(truth * logits.log_softmax(dim=1)).sum() / known.sum().clamp(min=1)
        p = logits.softmax(dim=1) * known
        dice = 1 - ((2 * (p * truth).sum((0, 2, 3)) + 1) / ((p + truth).sum((0, 2, 3)) + 1)).mean()
        loss: Tensor = of_distances + of_centres + ce + dice
        return loss
