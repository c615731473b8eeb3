"""The segmentation losses."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.class_table import IGNORE_INDEX, LabelSets
from monch_monai.errors import InputError
from monch_monai.settings import number


class PerClassBCE(nn.Module):
    """Binary cross-entropy of each class's map, averaged over classes, pixels and images, Eq. (9).

    Where the truth is one of several classes, not known which, the other maps are to be 0, and one term stands in place
    of those classes' maps: the cross-entropy of "at least one of them", `-log(1 - prod(1 - p))`. That is the likelihood
    of the set by independent maps. Learning from sets of labels is Cour et al.'s (2011).

    The gradient of that term goes to the maps in proportion to their probabilities, so a map that is ahead by chance
    stays ahead. With `class_shares` its members share it by these instead, at the same value of the loss: pixels whose
    class is known decide their order.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
        background_weight: of the background's map in the mean over classes, where each other map has 1.
        class_shares: `T` numbers of at least 0, such as the share of pixels of each class. A set whose classes have 0
            alone is shared equally.

    Raises:
        InputError: `background_weight` or a share is no finite number of at least 0, or there is not one share for each
            class.
    """

    def __init__(
        self,
        labels: LabelSets | None = None,
        background_weight: float = 1.0,
        class_shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.several = several_of(labels)
        if class_shares is not None and labels is not None and len(class_shares) != len(labels.table):
            raise InputError(f"class_shares has {len(class_shares)} numbers; give one for each of {len(labels.table)}")
        self.shares = class_shares and tuple(number("class_shares", share, least=0) for share in class_shares)
        self.background_weight = number("background_weight", background_weight, least=0)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]` of any integer type.

        A batch of nothing but ignored pixels has loss 0.

        Raises:
            ValueError: the sizes differ, or `target` holds a value that is neither a label nor 255.
        """
        truth, counts = one_hot(target, logits, self.several)
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")  # [B, T, H, W]
        for value, members in self.several.items():
            here = target.as_subclass(Tensor) == value  # [B, 1, H, W]
            if here.any():
                inside = torch.zeros(logits.shape[1], 1, 1, dtype=torch.bool, device=logits.device)
                inside[members] = True
                joint = any_of(logits[:, members])
                if self.shares:
                    joint = joint.detach() + _weighted(logits[:, members], [self.shares[m] for m in members])
                term = F.softplus(-joint)[:, None]
                loss = torch.where(here & inside, term / len(members), loss)  # shared among the members' maps
        if self.background_weight != 1:
            weights = torch.ones(logits.shape[1], 1, 1, device=loss.device)
            weights[0] = self.background_weight
            loss = loss * (weights / weights.mean())
        loss = loss.mean(dim=1)
        return (loss * counts).sum() / counts.sum().clamp(min=1)


class BCEAndDice(nn.Module):
    """`PerClassBCE` plus `dice_weight` times the soft Dice loss of the classes that a batch holds.

    Soft Dice of a class is `(2 sum(p y) + 1) / (sum(p) + sum(y) + 1)` over all pixels of the batch that count, `p` the
    sigmoid of its logits (Milletari et al., 2016, with sums in place of squares). A class without a pixel in the batch
    is left out. Pixels whose truth is one of several classes do not count for those classes. Rare classes weigh as much
    as common ones here, unlike in the cross-entropy.

    Args:
        dice_weight: 0 leaves the cross-entropy alone.
        labels: as in `PerClassBCE`.
        background_weight: of the cross-entropy, as in `PerClassBCE`.
        class_shares: as in `PerClassBCE`.

    Raises:
        InputError: a weight is no finite number of at least 0, or `class_shares` are refused.
    """

    def __init__(
        self,
        dice_weight: float = 0.5,
        labels: LabelSets | None = None,
        background_weight: float = 1.0,
        class_shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.bce = PerClassBCE(labels, background_weight, class_shares)
        self.dice_weight = number("dice_weight", dice_weight, least=0)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]` of any integer type.

        Raises:
            ValueError: the sizes differ, or `target` holds a value that is neither a label nor 255.
        """
        truth, counts = one_hot(target, logits, self.bce.several)
        known = counts[:, None].repeat(1, logits.shape[1], 1, 1)
        for value, members in self.bce.several.items():
            known[:, members] &= target.as_subclass(Tensor) != value
        probs = logits.sigmoid() * known
        both, pixels = (probs * truth).sum((0, 2, 3)), truth.sum((0, 2, 3))  # [T]
        dice = (2 * both + 1) / (probs.sum((0, 2, 3)) + pixels + 1)
        present = pixels > 0
        dice_loss = ((1 - dice) * present).sum() / present.sum().clamp(min=1)
        loss: Tensor = self.bce(logits, target) + self.dice_weight * dice_loss
        return loss


class WithDistance(nn.Module):
    """A loss of the classes' maps plus `distance_weight` times the cross-entropy of the distance map.

    The truth of that map is a share, of `monch_monai.nuclei.normalised_distance`; its cross-entropy is least where the
    sigmoid of the logit is that share.

    Args:
        classes: the loss of the classes' maps.
        distance_weight: 0 leaves that loss alone.

    Raises:
        InputError: `distance_weight` is no finite number of at least 0.
    """

    def __init__(self, classes: nn.Module, distance_weight: float = 1.0) -> None:
        super().__init__()
        self.classes = classes
        self.distance_weight = number("distance_weight", distance_weight, least=0)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T + 1, H, W]`; pixels of 255 do not count.

        Args:
            logits: the distance map's come last.
            target: `[B, 2, H, W]`, the class map and the normalised distance.
        """
        class_map, distance = target.as_subclass(Tensor).split(1, dim=1)
        counts = class_map != IGNORE_INDEX
        loss = F.binary_cross_entropy_with_logits(logits[:, -1:], distance.to(logits.dtype), reduction="none")
        of_distance: Tensor = (loss * counts).sum() / counts.sum().clamp(min=1)
        of_classes: Tensor = self.classes(logits[:, :-1], class_map)
        return of_classes + self.distance_weight * of_distance


def several_of(labels: LabelSets | None) -> dict[int, list[int]]:
    """Values that stand for several classes, and the indices of these."""
    return {} if labels is None else {v: list(s) for v, s in enumerate(labels.several, start=len(labels.table))}


def any_of(logits: Tensor) -> Tensor:
    """Logit `[B, H, W]` of at least one of the classes of `logits [B, K, H, W]`, taken as independent.

    `1 - prod(1 - p)` has the logit `log(exp(s) - 1)`, with `s` the sum of `softplus(logit)`. Where `s` is large that is
    `s`, and where it is small the `logsumexp` of the logits.
    """
    total = F.softplus(logits).sum(dim=1)
    middle = torch.log(torch.expm1(total.clamp(1e-6, 15)))
    return torch.where(total > 15, total, torch.where(total < 1e-5, logits.logsumexp(dim=1), middle))


def _weighted(logits: Tensor, shares: list[float]) -> Tensor:
    """0 `[B, H, W]`, whose gradient goes to `logits [B, K, H, W]` by `shares`, equally where all are 0."""
    weights = logits.new_tensor(shares) if any(shares) else logits.new_ones(len(shares))
    mean = torch.einsum("bkhw,k->bhw", logits, weights / weights.sum())
    return mean - mean.detach()


def one_hot(target: Tensor, logits: Tensor, several: dict[int, list[int]]) -> tuple[Tensor, Tensor]:
    """Class maps `[B, 1, H, W]` as one map a class, `[B, T, H, W]` of the logits' type, and which pixels count.

    Every map is 0 at pixels that do not count, which are those of 255 (the second result, `[B, H, W]` bool, is false
    there), and at pixels of `several` classes.

    Raises:
        ValueError: the sizes differ, or `target` holds a value that is no class, none of `several` and not 255.
    """
    classes = logits.shape[1]
    if several and min(several) != classes:
        raise ValueError(f"logits have {classes} maps; the labels are of {min(several)} classes")
    if target.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ValueError(f"logits are {list(logits.shape)}, their target {list(target.shape)}: sizes must agree")
    index = target.as_subclass(Tensor)[:, 0].long()
    counts = index != IGNORE_INDEX  # [B, H, W]
    last = max(several, default=classes - 1)
    unknown = index[counts & ((index > last) | (index < 0))]
    if unknown.numel():
        raise ValueError(f"target holds {int(unknown[0])}; labels are 0 to {last}")
    truth = torch.stack([(index == c) & counts for c in range(classes)], dim=1).to(logits.dtype)
    return truth, counts
