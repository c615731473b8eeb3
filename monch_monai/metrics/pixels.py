"""Scores of each class from pixel counts summed over a set of images.

The convention behind the paper's Table 1, where F1 = 2 IoU / (1 + IoU): counts are summed first and divided once. All
functions take any number of matrices at once, `[..., L, T]` (rows labels of the truth, columns predicted classes), and
compute in float64.

A label may stand for several classes, one of which is true (`monch_monai.class_table.LabelSets`). Its pixels are right
where the prediction is any of them. A prediction is false for a label where the truth can be none of the label's
classes: a truth that might be one of them is neither right nor false for it.

What is not defined is NaN, never a silent 0 or 1:

| class | IoU, F1 (= Dice), recall | precision |
|---|---|---|
| in the truth, and predicted | by their definitions | by its definition |
| in the truth, never predicted | 0: all of it was missed | NaN; in a mean it counts as 0 |
| not in the truth, but predicted | NaN, and not in a mean; the mistakes lower other classes' recall | NaN |
| in neither | NaN, and not in a mean | NaN |
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monch_monai.class_table import LabelSets

Floats = NDArray[np.float64]


class PixelScores(NamedTuple):
    """Scores of each label, each `[..., L]`, in [0, 1] or NaN. F1 is Dice."""

    iou: Floats
    precision: Floats
    recall: Floats
    f1: Floats


class ScoreRow(NamedTuple):
    """Scores of one label, in [0, 1] or NaN. `pixels` are the truth's, `predicted` the prediction's."""

    name: str
    dice: float
    iou: float
    precision: float
    recall: float
    pixels: int
    predicted: int


def pixel_scores(matrices: ArrayLike, labels: LabelSets | None = None) -> PixelScores:
    """IoU `TP / (TP + FP + FN)`, precision, recall and F1 `2 TP / (2 TP + FP + FN)` of each label.

    Args:
        matrices: `[..., L, T]`, from `confusion_matrix`, summed over images.
        labels: what the rows stand for; None where each is the class of the same index, and L = T.

    Examples:
        A map of 2x2 pixels, one of whose two nucleus pixels was missed:

        >>> scores = pixel_scores([[2, 0], [1, 1]])
        >>> scores.f1.round(3).tolist()  # Dice: 2 * 2 / (2 + 3) and 2 * 1 / (2 + 1)
        [0.8, 0.667]
    """
    counts = np.asarray(matrices, dtype=np.float64)
    allowed, disjoint = sets_of(counts, labels)
    answered = counts @ allowed.T  # [..., L, L]: pixels of the row's label that are predicted as one of the column's
    right = np.diagonal(answered, axis1=-2, axis2=-1)  # [..., L]
    false, truth = (answered * disjoint).sum(axis=-2), counts.sum(axis=-1)
    present = truth > 0
    return PixelScores(
        iou=ratio(right, truth + false, present),
        precision=ratio(right, right + false, present),
        recall=ratio(right, truth, present),
        f1=ratio(2 * right, right + truth + false, present),
    )


def pixel_accuracy(matrices: ArrayLike, labels: LabelSets | None = None) -> Floats:
    """Share of counted pixels with the right class, background included, `[...]`; NaN where none is counted.

    Args:
        matrices: `[..., L, T]`.
        labels: what the rows stand for; None where each is the class of the same index.

    Examples:
        >>> float(pixel_accuracy([[2, 0], [1, 1]]))
        0.75
    """
    counts = np.asarray(matrices, dtype=np.float64)
    return ratio((counts * sets_of(counts, labels)[0]).sum(axis=(-2, -1)), counts.sum(axis=(-2, -1)))


def frequency_weighted_iou(matrices: ArrayLike, labels: LabelSets | None = None) -> Floats:
    """Mean IoU of the labels, background included, weighted by their share of the truth's pixels, `[...]`.

    Args:
        matrices: `[..., L, T]`.
        labels: what the rows stand for; None where each is the class of the same index.

    Examples:
        >>> round(float(frequency_weighted_iou([[2, 0], [1, 1]])), 3)  # (2 * 2/3 + 2 * 1/2) / 4
        0.583
    """
    counts = np.asarray(matrices, dtype=np.float64)
    truth = counts.sum(axis=-1)
    weighted = np.where(truth > 0, truth * pixel_scores(counts, labels).iou, 0).sum(axis=-1)
    return ratio(weighted, truth.sum(axis=-1))


def any_nucleus(matrices: ArrayLike) -> NDArray[Any]:
    """Counts `[..., 2, 2]` of background against nuclei of any class, from counts `[..., L, T]`.

    Examples:
        >>> any_nucleus([[5, 1, 0], [0, 2, 3], [4, 0, 1]]).tolist()
        [[5, 1], [4, 6]]
    """
    counts = np.asarray(matrices)
    rows = np.stack([counts[..., 0, :], counts[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def score_rows(matrix: ArrayLike, labels: LabelSets) -> list[ScoreRow]:
    """A row for each of the labels, and one of `any nucleus`, whatever its class.

    Args:
        matrix: `[L, T]`, summed over images.
        labels: what the rows of the matrix stand for.

    Examples:
        >>> from monch_monai.class_table import PANNUKE
        >>> row = score_rows(np.eye(6, dtype=int), LabelSets(PANNUKE))[1]
        >>> row.name, row.dice, row.pixels
        ('neoplastic', 1.0, 1)
    """
    counts, scores = np.asarray(matrix), pixel_scores(matrix, labels)
    predicted = counts.sum(axis=0) @ labels.allowed.T
    rows = [_row(labels.names[i], scores, i, counts[i].sum(), predicted[i]) for i in labels.rows]
    binary = any_nucleus(matrix)
    return [*rows, _row("any nucleus", pixel_scores(binary), 1, binary[1].sum(), binary[:, 1].sum())]


def mean_dice(matrix: ArrayLike, labels: LabelSets) -> float:
    """Mean Dice over the labels of nuclei that the truth has (background excluded); NaN where the truth has none.

    A truth that has nuclei of no known class alone has their Dice, that of any nucleus.

    Args:
        matrix: `[L, T]`, summed over images.
        labels: what the rows of the matrix stand for.

    Examples:
        >>> from monch_monai.class_table import PANNUKE
        >>> matrix = np.zeros((6, 6))
        >>> matrix[0, 0], matrix[1, 1], matrix[2, 0] = 9, 4, 3  # the second class was missed
        >>> mean_dice(matrix, LabelSets(PANNUKE))
        0.5
    """
    *of_labels, of_any = score_rows(matrix, labels)[1:]
    present = [row.dice for row in of_labels if row.pixels] or [of_any.dice]
    return sum(present) / len(present)


def sets_of(counts: Floats, labels: LabelSets | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which classes each label may be, `[L, T]`, and which labels share no class, `[L, L]`."""
    if labels is None:
        plain = np.eye(counts.shape[-1])
        return plain, 1 - plain
    return labels.allowed, labels.disjoint


def ratio(above: ArrayLike, below: ArrayLike, where: ArrayLike = True) -> Floats:
    """`above / below`, and NaN where `below` is 0 or `where` is false."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    quotient = np.full(below.shape, np.nan)
    np.divide(above, below, out=quotient, where=np.logical_and(where, below != 0))
    return quotient


def _row(name: str, scores: PixelScores, index: int, pixels: int, predicted: int) -> ScoreRow:
    iou, precision, recall, dice = (float(score[index]) for score in scores)
    return ScoreRow(name, dice, iou, precision, recall, int(pixels), int(predicted))
