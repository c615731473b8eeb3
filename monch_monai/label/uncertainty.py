"""How unsure the model is of the nuclei that it found."""

import numpy as np
from numpy.typing import NDArray

from monch_monai.classes import NUCLEUS_CLASSES


def nucleus_uncertainty(probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy of each nucleus's class, from 0 (sure of one class) to 1 (all are as likely).

    The classes' probabilities, which need not sum to one, are taken as shares of their sum; all 0 counts as unsure.

    Args:
        probs: `[K, 5]`, in [0, 1]: mean probability of each nucleus class over the nucleus's pixels.
    """
    p = np.asarray(probs, np.float64)
    total = p.sum(axis=1, keepdims=True)
    shares = np.divide(p, total, out=np.full_like(p, 1 / p.shape[1]), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: NDArray[np.float64] = -(shares * logs).sum(axis=1) / np.log(len(NUCLEUS_CLASSES))
    return entropy


def mean_uncertainty(probs: NDArray[np.floating]) -> float:
    """Mean of `nucleus_uncertainty` over the nuclei of an image or region; 0 where it has none."""
    return float(nucleus_uncertainty(probs).mean()) if len(probs) else 0.0
