"""Means over the classes, over organs, and the two that the paper prints: each by its own name."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monch_monai.class_table import LabelSets
from monch_monai.metrics.pixels import Floats, frequency_weighted_iou, pixel_accuracy, pixel_scores, ratio

Number = TypeVar("Number", np.int64, np.float64)


class PaperScores(NamedTuple):
    """The three columns of the paper's Table 2, each `[...]`."""

    iou: Floats
    fw_iou: Floats
    f1: Floats


class Spread(NamedTuple):
    """Mean, standard deviation and variance over organs, both of the population, and the number of organs."""

    mean: float
    sd: float
    variance: float
    organs: int


def summary(matrices: ArrayLike, labels: LabelSets | None = None) -> dict[str, Floats]:
    """Every score of a set of images that is one number, by name, each `[...]`.

    `pixel_accuracy` and `fw_iou` count background. The means are over the labels that the truth has, with background
    (`…_with_background`) and without (`…_of_nuclei`); a label never predicted has precision 0 in them, and that of any
    nucleus is left out where there are others, as in `mean_dice`. `mean_f1` is the mean of the labels' F1,
    `f1_of_means` the harmonic mean of mean precision and mean recall.

    Args:
        matrices: `[..., L, T]`, summed over images.
        labels: what the rows stand for; None where each is the class of the same index.

    Examples:
        >>> scores = summary([[6, 0], [2, 2]])
        >>> round(float(scores["mean_f1_with_background"]), 3), round(float(scores["mean_f1_of_nuclei"]), 3)
        (0.762, 0.667)
    """
    scores = pixel_scores(matrices, labels)
    present = ~np.isnan(scores.recall)
    if labels is not None:
        of_any = ~np.isin(np.arange(len(labels)), labels.rows)
        present &= ~(of_any & present[..., labels.rows[1:]].any(axis=-1, keepdims=True))
    # A class that is present and never predicted has no right pixel.
    scores = scores._replace(precision=np.where(present & np.isnan(scores.precision), 0, scores.precision))
    named = {"pixel_accuracy": pixel_accuracy(matrices, labels), "fw_iou": frequency_weighted_iou(matrices, labels)}
    for suffix, first in (("with_background", 0), ("of_nuclei", 1)):
        shown = present[..., first:]
        means = {
            name: ratio(np.where(shown, values[..., first:], 0).sum(axis=-1), shown.sum(axis=-1))
            for name, values in scores._asdict().items()
        }
        named |= {f"mean_{name}_{suffix}": value for name, value in means.items()}
        precision, recall = means["precision"], means["recall"]
        both_zero = precision + recall == 0  # the limit of the harmonic mean is 0
        named[f"f1_of_means_{suffix}"] = np.where(both_zero, 0, ratio(2 * precision * recall, precision + recall))
    return named


def paper_scores(matrices: ArrayLike, labels: LabelSets | None = None) -> PaperScores:
    """IoU, FWIoU and F1 as in Table 2: macro over the classes, background included, F1 of macro precision and recall.

    Of the pooled test set this reproduces the row "Average", of one organ's images an organ's row. That is inferred
    from the printed numbers; the authors have not confirmed it.

    Args:
        matrices: `[..., L, T]`, summed over the images of the test set, or of an organ.
        labels: what the rows stand for; None where each is the class of the same index.

    Examples:
        >>> [round(float(score), 3) for score in paper_scores([[6, 0], [2, 2]])]
        [0.625, 0.65, 0.808]
    """
    named = summary(matrices, labels)
    return PaperScores(named["mean_iou_with_background"], named["fw_iou"], named["f1_of_means_with_background"])


def by_tissue(counts: NDArray[Number], tissues: Sequence[str]) -> dict[str, NDArray[Number]]:
    """Counts or scores `[n, ...]` of each tissue's images, in the order of the tissues' names.

    Args:
        counts: `[N, ...]`, such as one confusion matrix an image.
        tissues: N names.

    Raises:
        ValueError: the numbers of names and of images differ.

    Examples:
        >>> matrices = by_tissue(np.ones((3, 2, 2), np.int64), ["Lung", "Colon", "Lung"])
        >>> {name: len(of) for name, of in matrices.items()}
        {'Colon': 1, 'Lung': 2}
    """
    if len(tissues) != len(counts):
        raise ValueError(f"counts of {len(counts)} images with {len(tissues)} tissues: give one tissue an image")
    names = np.asarray(tissues, dtype=str)
    return {str(name): counts[names == name] for name in sorted(set(tissues))}


def over_organs(values: ArrayLike) -> Spread:
    """Plain mean and spread of a score over organs; organs where it is NaN, not defined, are left out and not counted.

    The paper's row "STD" is this variance.

    Examples:
        >>> over_organs([0.5, 0.75, np.nan])
        Spread(mean=0.625, sd=0.125, variance=0.015625, organs=2)
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    if not known.size:
        return Spread(np.nan, np.nan, np.nan, 0)
    return Spread(float(known.mean()), float(known.std()), float(known.var()), known.size)
