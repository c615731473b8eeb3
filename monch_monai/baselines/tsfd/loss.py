"""TSFD-Net's truth of boundaries and tissues, and its loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.losses import TverskyLoss
from monai.transforms import MapTransform
from skimage.segmentation import find_boundaries
from torch import Tensor, nn

from monch_monai.class_table import IGNORE_INDEX, LabelSets
from monch_monai.losses import one_hot, several_of
from monch_monai.tissues import TISSUES

EDGE = 2
"""Width of the tile's margin, px, in which a nucleus's pixels are boundary."""
NEAR = 11
"""Side of the square, px, that holds nucleus and background where a pixel is near a border."""


class TsfdTruthd(MapTransform):
    """Dictionary transform of instance maps `[1, H, W]` to TSFD-Net's truth beside the classes, `[2, H, W]`.

    First is the boundary, 1 at the inner and outer borders of nuclei and at their pixels in the tile's outer 2 px. Then
    the tile's tissue at all pixels, its index in `TISSUES`, by the item's `tissue`; 255 where that is none of these.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with boundaries and tissues in place of instance maps."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            instances = torch.as_tensor(changed[key])[0].int().numpy()
            boundary = find_boundaries(instances, mode="thick")
            inside = np.zeros_like(boundary)
            inside[EDGE:-EDGE, EDGE:-EDGE] = True
            boundary |= (instances > 0) & ~inside
            tissue = changed.get("tissue")
            index = TISSUES.index(tissue) if tissue in TISSUES else IGNORE_INDEX
            truth = np.stack([boundary.astype(np.float32), np.full(boundary.shape, index, np.float32)])
            changed[key] = MetaTensor(torch.from_numpy(truth))
        return changed


class TsfdLoss(nn.Module):
    """The sum of three losses with equal weights, of the maps of `TsfdNet`.

    - Tissue: focal (Lin et al., 2017), α 0.3, γ 5.
    - Classes: focal Tversky (Abraham and Khan, 2019) plus 0.4 times cross-entropy and Dice of each class's map, in
      which pixels near a border weigh three times as much.
    - Boundary: focal Tversky plus 0.4 times focal.

    Pixels of 255 do not count; those of several classes count for the boundary alone; a tile whose tissue is unknown
    not for the tissue.

    Deviation: the authors' released loss cannot run, so that details are a reading. Focal Tversky is
    `(1 - TI)^(3/4)`, false negatives 0.7 and false positives 0.3, of the sums over a batch; the boundary's focal loss
    has Lin et al.'s α 0.25 and γ 2; the weights of pixels have mean 1.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
    """

    def __init__(self, labels: LabelSets | None = None) -> None:
        super().__init__()
        self.several = several_of(labels)
        self.tversky = TverskyLoss(alpha=0.3, beta=0.7, batch=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, maps: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar.

        Args:
            maps: `[B, T + 1 + 19, H, W]`.
            target: `[B, 3, H, W]`, the class map, and boundary and tissue of `TsfdTruthd`.

        Raises:
            ValueError: the sizes differ, or the class map holds a value that is neither a label nor 255.
        """
        classes, boundary, tissue = maps.float().split([maps.shape[1] - 1 - len(TISSUES), 1, len(TISSUES)], dim=1)
        truth, counts = one_hot(target[:, :1], classes, self.several)
        plain = target.as_subclass(Tensor)
        known = truth.sum(dim=1, keepdim=True)  # 0 too at pixels of several classes
        return (
            self.of_tissue(tissue.mean(dim=(2, 3)), plain[:, 2, 0, 0].long())
            + self.of_classes(classes.softmax(dim=1), truth, known)
            + self.of_boundary(boundary, plain[:, 1:2].to(boundary.dtype), counts[:, None].to(boundary.dtype))
        )

    def of_tissue(self, logits: Tensor, tissue: Tensor) -> Tensor:
        """Focal loss of logits `[B, 19]` against indices `[B]`; 0 where no tile's tissue is known."""
        is_known = tissue != IGNORE_INDEX
        log_p = logits.log_softmax(dim=1).gather(1, torch.where(is_known, tissue, 0)[:, None])[:, 0]
        loss = -0.3 * (1 - log_p.exp()).pow(5) * log_p
        return (loss * is_known).sum() / is_known.sum().clamp(min=1)

    def of_classes(self, p: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Loss of probabilities against the truth, both `[B, T, H, W]`, at the pixels `known [B, 1, H, W]`."""
        around = F.avg_pool2d(truth, NEAR, stride=1, padding=NEAR // 2, count_include_pad=False)
        weights = known * (1 + 2 * ((around > 0) & (around < 1)))
        weights = weights / weights.mean().clamp(min=1e-6)
        bce = (weights * F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), truth, reduction="none")).mean()
        both, either = (weights * p * truth).sum((0, 2, 3)), (weights * (p + truth)).sum((0, 2, 3))
        dice = 1 - ((2 * both + 1) / (either + 1)).mean()
        return self._focal_tversky(p * known, truth) + 0.4 * (bce + dice)

    def of_boundary(self, logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
        """Loss of logits against the boundary, all `[B, 1, H, W]`, at the pixels that count."""
        p = logits.sigmoid()
        bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        wrong, share = torch.where(truth > 0, 1 - p, p), torch.where(truth > 0, 0.25, 0.75)
        focal = (counts * share * wrong.square() * bce).sum() / counts.sum().clamp(min=1)
        return self._focal_tversky(p * counts, truth * counts) + 0.4 * focal

    def _focal_tversky(self, p: Tensor, truth: Tensor) -> Tensor:
        loss: Tensor = self.tversky(p, truth).clamp(min=1e-6).pow(0.75).mean()
        return loss
