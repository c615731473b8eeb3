"""Panoptic quality (Kirillov et al., 2019) of nuclei, by each of the rules in use.

A predicted nucleus matches a true one where their IoU is above 0.5, which at most one does. With TP matches, FP
predicted and FN true nuclei without one: DQ = TP / (TP + FP/2 + FN/2), SQ = mean IoU of the matches, PQ = DQ SQ. For a
class only nuclei of that class take part; bPQ treats nuclei of all classes as one class. The scores of images are
combined by one of three rules:

- PanNuke's, `pannuke_pq` (Gamper et al., 2020): PQ of each image and class, NaN where the truth has none of the class;
  mPQ is the mean over classes, then over a tissue's images, then over tissues.
- Strict, `pannuke_pq(strict=True)`: the same, but a class that was predicted where the truth of an image has none
  scores 0 there, so that false positives count everywhere.
- Pooled, `pooled_pq` (CoNIC's mPQ+, Graham et al., 2021): TP, FP, FN and IoU are summed over all images and give one PQ
  a class; mPQ+ is the mean over classes.

What is not defined is NaN and in no mean. PanNuke's own program adds 1e-6 to the denominator of SQ (CellViT's also to
that of DQ), which lowers PQ by less than 1e-6; here nothing is added, and a perfect map has PQ 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monch_monai.class_table import LabelSets
from monch_monai.metrics.instances import Instances
from monch_monai.metrics.means import by_tissue
from monch_monai.metrics.pixels import Floats, ratio

ANY = 0
"""Index of "nuclei of any class" in the counts, where class maps have background."""


class PanopticScores(NamedTuple):
    """PQ, DQ and SQ, each `[...]`. SQ is NaN without a match; all are NaN without a nucleus in truth and prediction."""

    pq: Floats
    dq: Floats
    sq: Floats


class PanNukeScores(NamedTuple):
    """PQ by PanNuke's rule.

    `mpq` and `bpq` are over tissues, `mpq_by_tissue` and `bpq_by_tissue` of each, and `pq_by_class` of each nucleus
    label is over all images, in their order.
    """

    mpq: float
    bpq: float
    mpq_by_tissue: dict[str, float]
    bpq_by_tissue: dict[str, float]
    pq_by_class: Floats


def overlaps(y_pred: Instances, y: Instances) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Ids of the true and of the predicted nucleus of each pair that shares a pixel, and the pair's IoU.

    Raises:
        ValueError: the sizes differ.
    """
    if y_pred.ids.shape != y.ids.shape:
        raise ValueError(f"prediction is {list(y_pred.ids.shape)}, truth {list(y.ids.shape)}: sizes must agree")
    width = len(y_pred.classes)
    pairs, shared = np.unique(y.ids.ravel() * width + y_pred.ids.ravel(), return_counts=True)
    true, predicted = np.divmod(pairs, width)
    nuclei = (true > 0) & (predicted > 0)
    true, predicted, shared = true[nuclei], predicted[nuclei], shared[nuclei]
    areas = np.bincount(y.ids.ravel())[true] + np.bincount(y_pred.ids.ravel())[predicted]
    return true, predicted, shared / (areas - shared)


def panoptic_counts(y_pred: Instances, y: Instances, labels: LabelSets) -> NDArray[np.float64]:
    """TP, FP, FN and the sum of the matches' IoU in one image, `[L, 4]`: of each label, and in row 0 of any nucleus.

    A match of two classes is in row 0 a TP, for the one class an FN and for the other an FP. A true nucleus of several
    classes, one of which is predicted, is a TP of its own label and nothing for others. A label of several classes has
    counts only where the truth has it, since what is false there is false for a class too; that of any nucleus, whose
    row is the first, has none.

    Args:
        y_pred: the prediction, ignored nuclei dropped (`drop_ignored`).
        y: the truth, ignored nuclei dropped.
        labels: what the truth's classes stand for.

    Raises:
        ValueError: the sizes differ.

    Examples:
        Two nuclei; of the first, three of four pixels were found, the second was missed:

        >>> from monch_monai.class_table import PANNUKE
        >>> from monch_monai.metrics import instances
        >>> truth = instances(np.array([[1, 1, 1, 1, 0, 2]]), np.array([[1, 1, 1, 1, 0, 1]]), 6)
        >>> found = instances(np.array([[0, 1, 1, 1, 0, 0]]), np.array([[0, 1, 1, 1, 0, 0]]), 6)
        >>> panoptic_counts(found, truth, LabelSets(PANNUKE))[1].tolist()
        [1.0, 0.0, 1.0, 0.75]
    """
    true, predicted, iou = overlaps(y_pred, y)
    matched = iou > 0.5
    true_class, predicted_class = y.classes[true[matched]], y_pred.classes[predicted[matched]]
    allowed = labels.allowed
    agree = allowed[true_class, predicted_class]
    counts = np.zeros((len(labels), 4))
    tp, fp, fn, iou_sum = counts.T
    np.add.at(tp, true_class[agree], 1)
    np.add.at(iou_sum, true_class[agree], iou[matched][agree])
    fn += np.bincount(y.classes[1:], minlength=len(labels)) - tp
    # Of the nuclei predicted as one of a label's classes, those whose match might be of them are not false.
    fp += allowed @ np.bincount(y_pred.classes[1:], minlength=len(labels.table))
    fp -= (~labels.disjoint[:, true_class] & allowed[:, predicted_class]).sum(axis=1)
    counts[(tp + fn == 0) & (np.arange(len(labels)) >= len(labels.table))] = 0
    counts[[row for row in range(1, len(labels)) if row not in labels.rows]] = 0
    number = matched.sum()
    counts[ANY] = number, len(y_pred.classes) - 1 - number, len(y.classes) - 1 - number, iou[matched].sum()
    return counts


def panoptic_quality(counts: ArrayLike) -> PanopticScores:
    """PQ, DQ and SQ of counts `[..., 4]`, of one image or summed over many.

    Examples:
        >>> [round(float(score), 3) for score in panoptic_quality([1, 0, 1, 0.75])]  # DQ = 1 / 1.5, SQ = 0.75
        [0.5, 0.667, 0.75]
    """
    tp, fp, fn, iou_sum = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    nuclei = tp + fp / 2 + fn / 2
    return PanopticScores(pq=ratio(iou_sum, nuclei), dq=ratio(tp, nuclei), sq=ratio(iou_sum, tp))


def pooled_pq(counts: ArrayLike) -> tuple[PanopticScores, float]:
    """PQ, DQ and SQ of each label `[L]` (first: of any nucleus, bPQ+) from counts summed over images, and mPQ+.

    Args:
        counts: `[N, L, 4]`, one an image.

    Examples:
        >>> scores, mpq_plus = pooled_pq([[[1, 0, 1, 0.75], [1, 0, 1, 0.75]], [[1, 1, 0, 0.75], [1, 1, 0, 0.75]]])
        >>> scores.pq.tolist(), mpq_plus
        ([0.5, 0.5], 0.5)
    """
    scores = panoptic_quality(np.asarray(counts).sum(axis=0))
    return scores, float(_mean(scores.pq[1:], axis=0))


def pannuke_pq(counts: ArrayLike, tissues: Sequence[str], strict: bool = False) -> PanNukeScores:
    """PanNuke's mPQ and bPQ, official or strict.

    Args:
        counts: `[N, L, 4]`, one an image.
        tissues: N names.
        strict: whether a class that the truth of an image does not have, but the prediction has, scores 0 there.

    Raises:
        ValueError: the numbers of names and of images differ.

    Examples:
        Two images of one class; in the second the prediction has a nucleus, the truth none:

        >>> counts = [[[1, 0, 0, 0.75], [1, 0, 0, 0.75]], [[0, 1, 0, 0], [0, 1, 0, 0]]]
        >>> pannuke_pq(counts, ["Colon", "Colon"]).mpq, pannuke_pq(counts, ["Colon", "Colon"], strict=True).mpq
        (0.75, 0.375)
    """
    per_image = np.asarray(counts, dtype=np.float64)
    pq = panoptic_quality(per_image).pq  # [N, L]; NaN where neither truth nor prediction has the label
    if not strict:
        pq = np.where(per_image[..., 0] + per_image[..., 2] > 0, pq, np.nan)
    groups = by_tissue(pq, tissues)
    mpq = {name: float(_mean(_mean(of[:, 1:], axis=1), axis=0)) for name, of in groups.items()}
    bpq = {name: float(_mean(of[:, ANY], axis=0)) for name, of in groups.items()}
    over = [float(_mean(np.array(list(values.values())), axis=0)) for values in (mpq, bpq)]
    return PanNukeScores(over[0], over[1], mpq, bpq, _mean(pq[:, 1:], axis=0))


def _mean(values: Floats, axis: int) -> Floats:
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis))
