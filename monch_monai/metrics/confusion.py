"""Pixel counts: truth against prediction."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.class_table import IGNORE_INDEX, LabelSets
from monch_monai.metrics.pixels import mean_dice


class ImageCounts(NamedTuple):
    """N images: names, tissues, sources and datasets, a confusion matrix of each, `[N, L, T]` int64, and what its rows
    stand for.
    """

    images: list[str]
    tissues: list[str]
    sources: list[str]
    datasets: list[str]
    matrices: NDArray[np.int64]
    labels: LabelSets

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Counts of all images together, `[L, T]`."""
        summed: NDArray[np.int64] = self.matrices.sum(axis=0)
        return summed

    @property
    def by_dataset(self) -> dict[str, NDArray[np.int64]]:
        """Counts of each dataset's images together, `[L, T]`, in the order of the datasets' names."""
        names = np.asarray(self.datasets, dtype=str)
        return {name: self.matrices[names == name].sum(axis=0) for name in sorted(set(self.datasets))}

    @property
    def mean_dice(self) -> float:
        """Mean over the datasets of each one's mean Dice; NaN where no nucleus is in truth and predictions."""
        of_datasets = [mean_dice(matrix, self.labels) for matrix in self.by_dataset.values()]
        known = [dice for dice in of_datasets if not math.isnan(dice)]
        return sum(known) / len(known) if known else math.nan


def confusion_matrix(y_pred: Tensor, y: Tensor, labels: LabelSets) -> Tensor:
    """Pixel counts `[L, T]` int64: rows are the values of the truth, columns the classes of the prediction.

    Args:
        y_pred: predicted classes, any shape and integer type, 0 to T - 1.
        y: true labels, the same shape, 0 to L - 1; pixels of 255 are not counted.
        labels: what the values of the truth stand for.

    Raises:
        ValueError: the shapes differ, a value of the truth is no label, or one of the prediction no class.

    Examples:
        >>> from monch_monai.class_table import PANNUKE
        >>> truth, prediction = torch.tensor([[0, 1], [1, 255]]), torch.tensor([[0, 1], [0, 1]])
        >>> confusion_matrix(prediction, truth, LabelSets(PANNUKE))[:2, :2].tolist()
        [[1, 0], [1, 1]]
    """
    if y_pred.shape != y.shape:
        raise ValueError(f"prediction is {list(y_pred.shape)}, truth {list(y.shape)}: sizes must agree")
    counted = y != IGNORE_INDEX
    truth, guess = y[counted].long(), y_pred[counted].long()
    rows, columns = len(labels), len(labels.table)
    for name, values, number in (("truth", truth, rows), ("prediction", guess, columns)):
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < number:
            found = f"{int(values.min())} to {int(values.max())}"
            raise ValueError(f"{name} holds {found}; expected 0 to {number - 1}")
    return torch.bincount(truth * columns + guess, minlength=rows * columns).reshape(rows, columns)
