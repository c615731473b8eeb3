"""Detection and classification of nuclei by their centres, as HoVer-Net (Graham et al., 2019) and CellViT report them.

True and predicted centres are paired one to one by the assignment of least total distance (Hungarian algorithm); pairs
farther apart than 12 px at 0.25 µm/px (3 µm) are then undone, as in HoVer-Net's program. Centres are means of pixel
positions, not rounded.

Detection, with TP_d pairs, FP_d predicted and FN_d true nuclei without a partner:

    F_d = 2 TP_d / (2 TP_d + FP_d + FN_d)

Classification, for class c with TP_c pairs of it on both sides, FP_c pairs of it on the predicted side alone, FN_c on
the true side alone, and FP_d, FN_d of that class:

    F_c = 2 TP_c / (2 TP_c + 2 FP_c + 2 FN_c + FP_d + FN_d)

Deviation: HoVer-Net's paper adds TN_c to TP_c. Here as in the programs of both papers only pairs of class c count, of
which none is a true negative.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from monch_monai.classes import CLASSES
from monch_monai.metrics.instances import Instances, centroids
from monch_monai.metrics.pixels import Floats, ratio

RADIUS_PX = 12.0
"""Farthest apart that two centres of one nucleus may lie, in px at 0.25 µm/px."""


class DetectionScores(NamedTuple):
    """F1, precision and recall, each `[...]`, in [0, 1] or NaN."""

    f1: Floats
    precision: Floats
    recall: Floats


def detection_matrix(y_pred: Instances, y: Instances, radius_px: float = RADIUS_PX) -> NDArray[np.int64]:
    """Nuclei `[T, T]` by class: rows are the truth, columns the prediction, and index 0 is "no partner".

    Column 0 holds the true nuclei that were missed, row 0 the predicted ones that are none. Matrices of images add up.

    Args:
        y_pred: the prediction, ignored nuclei dropped (`drop_ignored`).
        y: the truth, ignored nuclei dropped.
        radius_px: farthest apart that partners may be, inclusive.

    Examples:
        One nucleus found, another of the same class missed:

        >>> from monch_monai.metrics import instances
        >>> truth = instances(np.array([[1, 0, 2]]), np.array([[3, 0, 3]]))
        >>> found = instances(np.array([[1, 0, 0]]), np.array([[3, 0, 0]]))
        >>> matrix = detection_matrix(found, truth)
        >>> int(matrix[3, 3]), int(matrix[3, 0]), int(matrix.sum())
        (1, 1, 2)
    """
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    distance = cdist(centroids(y), centroids(y_pred))  # [K, L]
    true, predicted = linear_sum_assignment(distance)
    near = distance[true, predicted] <= radius_px
    true, predicted = true[near] + 1, predicted[near] + 1
    np.add.at(counts, (y.classes[true], y_pred.classes[predicted]), 1)
    counts[:, 0] += np.bincount(np.delete(y.classes, [0, *true]), minlength=len(CLASSES))
    counts[0] += np.bincount(np.delete(y_pred.classes, [0, *predicted]), minlength=len(CLASSES))
    return counts


def detection_scores(matrix: ArrayLike) -> DetectionScores:
    """F_d, precision and recall of nuclei of any class; NaN where the denominator is 0.

    The `matrix [..., T, T]` is from `detection_matrix`, summed over images.

    Examples:
        Six pairs, two missed, three found where no nucleus is:

        >>> scores = detection_scores([[0, 2, 1], [2, 4, 1], [0, 0, 1]])
        >>> [round(float(score), 3) for score in scores]
        [0.706, 0.667, 0.75]
    """
    counts = np.asarray(matrix, dtype=np.float64)
    pairs = counts[..., 1:, 1:].sum(axis=(-2, -1))
    missed, extra = counts[..., 1:, 0].sum(axis=-1), counts[..., 0, 1:].sum(axis=-1)
    return DetectionScores(
        f1=ratio(2 * pairs, 2 * pairs + missed + extra),
        precision=ratio(pairs, pairs + extra),
        recall=ratio(pairs, pairs + missed),
    )


def classification_scores(matrix: ArrayLike) -> DetectionScores:
    """F_c, precision and recall of each nucleus class, `[..., 5]`; NaN for a class that the truth does not have.

    Precision is TP_c / (TP_c + 2 FP_c + FP_d) and recall TP_c / (TP_c + 2 FN_c + FN_d), with CellViT's weights.
    The `matrix [..., T, T]` is from `detection_matrix`, summed over images.

    Examples:
        >>> scores = classification_scores([[0, 2, 1], [2, 4, 1], [0, 0, 1]])
        >>> scores.f1.round(3).tolist()
        [0.571, 0.4]
    """
    counts = np.asarray(matrix, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)[..., 1:]
    false_positive = counts[..., 1:, 1:].sum(axis=-2) - right
    false_negative = counts[..., 1:, 1:].sum(axis=-1) - right
    extra, missed = counts[..., 0, 1:], counts[..., 1:, 0]
    present = right + false_negative + missed > 0
    wrong = 2 * false_positive + extra, 2 * false_negative + missed
    return DetectionScores(
        f1=ratio(2 * right, 2 * right + wrong[0] + wrong[1], present),
        precision=ratio(right, right + wrong[0], present),
        recall=ratio(right, right + wrong[1], present),
    )
