"""Pixel counts of every image of a set, from which all scores and their intervals follow."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
