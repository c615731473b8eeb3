"""Scores of each class from pixel counts summed over a set of images.

The convention behind the paper's Table 1, where F1 = 2 IoU / (1 + IoU): counts are summed first and divided once. All
functions take any number of matrices at once, `[..., T, T]` (rows truth, columns prediction), and compute in float64.

What is not defined is NaN, never a silent 0 or 1:

| class | IoU, F1 (= Dice), recall | precision |
|---|---|---|
| in the truth, and predicted | by their definitions | by its definition |
| in the truth, never predicted | 0: all of it was missed | NaN; in a mean it counts as 0 |
| not in the truth, but predicted | NaN, and not in a mean; the mistakes lower other classes' recall | NaN |
| in neither | NaN, and not in a mean | NaN |
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monch_monai.classes import CLASSES

Floats = NDArray[np.float64]


class PixelScores(NamedTuple):
    """Scores of each class, each `[..., T]`, in [0, 1] or NaN. F1 is Dice."""

    iou: Floats
    precision: Floats
    recall: Floats
    f1: Floats


class ScoreRow(NamedTuple):
    """Scores of one class, in [0, 1] or NaN. `pixels` are the truth's, `predicted` the prediction's."""

    name: str
    dice: float
    iou: float
    precision: float
    recall: float
    pixels: int
    predicted: int


def pixel_scores(matrices: ArrayLike) -> PixelScores:
    """IoU `TP / (TP + FP + FN)`, precision, recall and F1 `2 TP / (2 TP + FP + FN)` of each class.

    The `matrices [..., T, T]` are from `confusion_matrix`, summed over images.

    Examples:
        A map of 2x2 pixels, one of whose two nucleus pixels was missed:

        >>> scores = pixel_scores([[2, 0], [1, 1]])
        >>> scores.f1.round(3).tolist()  # Dice: 2 * 2 / (2 + 3) and 2 * 1 / (2 + 1)
        [0.8, 0.667]
    """
    counts = np.asarray(matrices, dtype=np.float64)
    both = np.diagonal(counts, axis1=-2, axis2=-1)  # [..., T]
    truth, guess = counts.sum(axis=-1), counts.sum(axis=-2)
    present = truth > 0
    return PixelScores(
        iou=ratio(both, truth + guess - both, present),
        precision=ratio(both, guess, present),
        recall=ratio(both, truth, present),
        f1=ratio(2 * both, truth + guess, present),
    )


def pixel_accuracy(matrices: ArrayLike) -> Floats:
    """Share of counted pixels with the right class, background included, `[...]`; NaN where none is counted.

    Examples:
        >>> float(pixel_accuracy([[2, 0], [1, 1]]))
        0.75
    """
    counts = np.asarray(matrices, dtype=np.float64)
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def frequency_weighted_iou(matrices: ArrayLike) -> Floats:
    """Mean IoU of the classes, background included, weighted by their share of the truth's pixels, `[...]`.

    Examples:
        >>> round(float(frequency_weighted_iou([[2, 0], [1, 1]])), 3)  # (2 * 2/3 + 2 * 1/2) / 4
        0.583
    """
    counts = np.asarray(matrices, dtype=np.float64)
    truth = counts.sum(axis=-1)
    weighted = np.where(truth > 0, truth * pixel_scores(counts).iou, 0).sum(axis=-1)
    return ratio(weighted, truth.sum(axis=-1))


def any_nucleus(matrices: ArrayLike) -> NDArray[Any]:
    """Counts `[..., 2, 2]` of background against nuclei of any class, from counts `[..., T, T]`.

    Examples:
        >>> any_nucleus([[5, 1, 0], [0, 2, 3], [4, 0, 1]]).tolist()
        [[5, 1], [4, 6]]
    """
    counts = np.asarray(matrices)
    rows = np.stack([counts[..., 0, :], counts[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def score_rows(matrix: ArrayLike) -> list[ScoreRow]:
    """A row for each of `CLASSES`, and one of `any nucleus`, whatever its class, from counts `[T, T]`.

    Examples:
        >>> row = score_rows(np.eye(6, dtype=int))[1]
        >>> row.name, row.dice, row.pixels
        ('neoplastic', 1.0, 1)
    """
    rows = [_row(c.name, matrix, c.index) for c in CLASSES]
    return [*rows, _row("any nucleus", any_nucleus(matrix), 1)]


def mean_dice(matrix: ArrayLike) -> float:
    """Mean Dice over the nucleus classes that the truth has (background excluded); NaN where the truth has none.

    The counts `[T, T]` are summed over images.

    Examples:
        >>> matrix = np.zeros((6, 6))
        >>> matrix[0, 0], matrix[1, 1], matrix[2, 0] = 9, 4, 3  # the second class was missed
        >>> mean_dice(matrix)
        0.5
    """
    present = [row.dice for row in score_rows(matrix)[1:-1] if row.pixels]
    return sum(present) / len(present) if present else math.nan


def ratio(above: ArrayLike, below: ArrayLike, where: ArrayLike = True) -> Floats:
    """`above / below`, and NaN where `below` is 0 or `where` is false."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    quotient = np.full(below.shape, np.nan)
    np.divide(above, below, out=quotient, where=np.logical_and(where, below != 0))
    return quotient


def _row(name: str, matrix: ArrayLike, c: int) -> ScoreRow:
    counts, scores = np.asarray(matrix), pixel_scores(matrix)
    iou, precision, recall, dice = (float(score[c]) for score in scores)
    return ScoreRow(name, dice, iou, precision, recall, int(counts[c].sum()), int(counts[:, c].sum()))
