"""Nuclei of one image as the instance metrics take them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from monch_monai.class_table import IGNORE_INDEX


class Instances(NamedTuple):
    """`ids [H, W]` int64, 0 for background and 1 to K without gaps, and `classes [K + 1]` uint8 by id, 0 of id 0.

    Of the truth, `classes` are labels, which may stand for several classes.
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.uint8]


def instances(instance_map: NDArray[Any], class_map: NDArray[Any], values: int) -> Instances:
    """Nuclei of an instance map, renumbered in order of their ids, each of the class that most of its pixels have.

    Background pixels do not vote, pixels of 255 do; ties go to the lower class. A nucleus may be in several pieces.

    Args:
        instance_map: `[H, W]`, 0 for background, else any ids.
        class_map: `[H, W]`, 0 to `values - 1` and 255.
        values: number of labels of a truth, or of classes of a prediction, background included.

    Raises:
        ValueError: the sizes differ, a value is none of these, or a nucleus has background pixels alone.

    Examples:
        >>> ids, classes = instances(np.array([[0, 7, 7, 9]]), np.array([[0, 1, 1, 3]]), 6)
        >>> ids.tolist(), classes.tolist()
        ([[0, 1, 1, 2]], [0, 1, 3])
    """
    if instance_map.shape != class_map.shape:
        sizes = f"instance map is {list(instance_map.shape)}, class map {list(class_map.shape)}"
        raise ValueError(f"{sizes}: sizes must agree")
    unknown = class_map[((class_map < 0) | (class_map >= values)) & (class_map != IGNORE_INDEX)]
    if unknown.size:
        raise ValueError(f"class map holds {unknown[0].item()}; expected 0 to {values - 1} and {IGNORE_INDEX}")
    found, numbered = np.unique(np.append(instance_map.ravel(), 0), return_inverse=True)  # with 0, which comes first
    if found[0] < 0:
        raise ValueError(f"instance map holds {found[0]}; ids are 0 and above")
    ids = numbered[:-1].reshape(instance_map.shape).astype(np.int64)
    choices = np.array([*range(1, values), IGNORE_INDEX], np.uint8)
    voting = (ids > 0) & (class_map > 0)
    ballot = np.searchsorted(choices, class_map[voting])
    votes = np.bincount(ids[voting] * len(choices) + ballot, minlength=len(found) * len(choices))
    votes = votes.reshape(len(found), len(choices))
    classless = found[1:][votes[1:].sum(axis=1) == 0]
    if classless.size:
        raise ValueError(f"nucleus {classless[0]} has no pixel of a nucleus class: the maps do not belong together")
    classes = choices[votes.argmax(axis=1)]
    classes[0] = 0
    return Instances(ids, classes)


def drop_ignored(y_pred: Instances, y: Instances, ignored: NDArray[np.bool_]) -> tuple[Instances, Instances]:
    """Both without what is not scored: true nuclei of class 255, and predicted ones mostly on ignored pixels.

    A predicted nucleus is dropped when more than half of its pixels are ignored and of no nucleus that is scored; one
    that matches a true nucleus stays so. Nuclei that stay keep all of their pixels.

    Args:
        y_pred: the prediction.
        y: the truth.
        ignored: `[H, W]`, where the true class map is 255.

    Examples:
        >>> truth_classes = np.array([[1, 1, 0, 255, 255]])
        >>> truth = instances(np.array([[1, 1, 0, 2, 2]]), truth_classes, 6)
        >>> found = instances(np.array([[1, 1, 0, 0, 2]]), np.array([[1, 1, 0, 0, 4]]), 6)
        >>> found, truth = drop_ignored(found, truth, truth_classes == 255)
        >>> found.ids.tolist(), truth.ids.tolist()
        ([[1, 1, 0, 0, 0]], [[1, 1, 0, 0, 0]])
    """
    area = np.bincount(y_pred.ids.ravel(), minlength=len(y_pred.classes))
    unscored = ignored & np.isin(y.classes, (0, IGNORE_INDEX))[y.ids]
    on_ignored = np.bincount(y_pred.ids[unscored], minlength=len(y_pred.classes))
    return _keep(y_pred, 2 * on_ignored <= area), _keep(y, y.classes != IGNORE_INDEX)


def centroids(nuclei: Instances) -> NDArray[np.float64]:
    """Mean position (x, y) of each nucleus's pixels, in px between pixel centres, `[K, 2]`."""
    rows_first = center_of_mass(nuclei.ids > 0, nuclei.ids, np.arange(1, len(nuclei.classes)))
    return np.array(rows_first, np.float64).reshape(-1, 2)[:, ::-1]


def _keep(nuclei: Instances, kept: NDArray[np.bool_]) -> Instances:
    kept = kept.copy()
    kept[0] = True
    number = np.where(kept, np.cumsum(kept) - 1, 0)
    return Instances(number[nuclei.ids], nuclei.classes[kept])
