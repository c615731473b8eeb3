"""Pixel counts: truth against prediction."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.classes import CLASSES, IGNORE_INDEX


class ImageCounts(NamedTuple):
    """N images: names, tissues and sources, and a confusion matrix of each, `[N, T, T]` int64."""

    images: list[str]
    tissues: list[str]
    sources: list[str]
    matrices: NDArray[np.int64]

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Counts of all images together, `[T, T]`."""
        summed: NDArray[np.int64] = self.matrices.sum(axis=0)
        return summed


def confusion_matrix(y_pred: Tensor, y: Tensor, num_classes: int = len(CLASSES)) -> Tensor:
    """Pixel counts `[T, T]` int64: rows are the truth, columns the prediction.

    Args:
        y_pred: predicted classes, any shape and integer type, 0 to T - 1.
        y: true classes, the same shape; pixels of 255 are not counted.
        num_classes: T, background included.

    Raises:
        ValueError: the shapes differ, or a value is not a class.

    Examples:
        >>> truth, prediction = torch.tensor([[0, 1], [1, 255]]), torch.tensor([[0, 1], [0, 1]])
        >>> confusion_matrix(prediction, truth, num_classes=2).tolist()
        [[1, 0], [1, 1]]
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
