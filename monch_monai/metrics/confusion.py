"""Scores from one pixel confusion matrix, counted over a whole set of images."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from monch_monai.classes import CLASSES, IGNORE_INDEX


class ScoreRow(NamedTuple):
    """Scores of one class, in [0, 1]; NaN where the truth has no pixel of it. `pixels` counts those."""

    name: str
    dice: float
    iou: float
    pixels: int


def confusion_matrix(y_pred: Tensor, y: Tensor, num_classes: int = len(CLASSES)) -> Tensor:
    """Pixel counts `[T, T]` int64: rows are the truth, columns the prediction.

    Args:
        y_pred: predicted classes, any shape and integer type, 0 to T - 1.
        y: true classes, the same shape; pixels of 255 are not counted.
        num_classes: T, background included.

    Raises:
        ValueError: the shapes differ, or a value is not a class.
    """
    if y_pred.shape != y.shape:
        raise ValueError(f"prediction is {list(y_pred.shape)}, truth {list(y.shape)}: sizes must agree")
    counted = y != IGNORE_INDEX
    truth, guess = y[counted].long(), y_pred[counted].long()
    for name, values in (("truth", truth), ("prediction", guess)):
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < num_classes:
            found = f"{int(values.min())} to {int(values.max())}"
            raise ValueError(f"{name} holds {found}; classes are 0 to {num_classes - 1}")
    return torch.bincount(truth * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


def score_rows(matrix: Tensor) -> list[ScoreRow]:
    """Dice `2 TP / (2 TP + FP + FN)` and IoU `TP / (TP + FP + FN)` of each class of `CLASSES`, and of any nucleus.

    The last row, `any nucleus`, asks only whether a pixel is of a nucleus, whatever its class.

    Args:
        matrix: `[T, T]` from `confusion_matrix`, summed over images.
    """
    background, nucleus = matrix[:1], matrix[1:]
    binary = torch.stack([background[:, :1].sum(), background[:, 1:].sum(), nucleus[:, :1].sum(), nucleus[:, 1:].sum()])
    rows = [_row(c.name, matrix, c.index) for c in CLASSES]
    return [*rows, _row("any nucleus", binary.reshape(2, 2), 1)]


def mean_dice(matrix: Tensor) -> float:
    """Mean Dice over the nucleus classes that the truth has (background excluded); NaN where it has none."""
    present = [row.dice for row in score_rows(matrix)[1:-1] if row.pixels]
    return sum(present) / len(present) if present else math.nan


def _row(name: str, matrix: Tensor, c: int) -> ScoreRow:
    true_positive, truth, guess = int(matrix[c, c]), int(matrix[c].sum()), int(matrix[:, c].sum())
    if truth == 0:
        return ScoreRow(name, math.nan, math.nan, 0)
    return ScoreRow(name, 2 * true_positive / (truth + guess), true_positive / (truth + guess - true_positive), truth)
