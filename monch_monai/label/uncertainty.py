"""How unsure the model is of the nuclei that it found."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

from monch_monai.classes import NUCLEUS_CLASSES


def nucleus_uncertainty(probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy of each nucleus's class, from 0 (sure of one class) to 1 (all are as likely).

    The classes' probabilities, which need not sum to one, are taken as shares of their sum; all 0 counts as unsure.

    Args:
        probs: `[K, 5]`, in [0, 1]: mean probability of each nucleus class over the nucleus's pixels.
    """
    weights = np.where(probs.any(axis=1, keepdims=True), probs, 1.0)
    uncertainty: NDArray[np.float64] = entropy(weights, axis=1) / np.log(len(NUCLEUS_CLASSES))
    return uncertainty


def mean_uncertainty(probs: NDArray[np.floating]) -> float:
    """Mean of `nucleus_uncertainty` over the nuclei of an image or region; 0 where it has none."""
    return float(nucleus_uncertainty(probs).mean()) if len(probs) else 0.0
