"""Scores with their intervals, as rows of a table: one a class, one an organ, one a class of an organ.

A score `s` has the columns `s`, `s_low` and `s_high`, the ends of its 95 % image-bootstrap interval. A pooled row
resamples all images, an organ's row the images of that organ.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.classes import CLASSES
from monch_monai.metrics.bootstrap import interval, resample
from monch_monai.metrics.means import Spread, by_tissue, over_organs, summary
from monch_monai.metrics.pixels import Floats, any_nucleus, pixel_scores, score_rows

Row = dict[str, str | int | float]
POOLED = "all images"
"""Name of the row over the images of every organ."""


def class_rows(matrices: NDArray[np.int64], seed: int = 0) -> list[Row]:
    """A row a class and one of any nucleus: name, scores with intervals, pixels of truth and prediction.

    Of N images it takes the confusion matrices `[N, T, T]`, and of the bootstrap the seed.
    """
    resampled = resample(matrices, seed=seed)
    of_classes, of_any = pixel_scores(resampled), pixel_scores(any_nucleus(resampled))
    rows: list[Row] = []
    for i, row in enumerate(score_rows(matrices.sum(axis=0))):
        iou, precision, recall, dice = (v[:, i] for v in of_classes) if i < len(CLASSES) else (v[:, 1] for v in of_any)
        scores = {"dice": row.dice, "iou": row.iou, "precision": row.precision, "recall": row.recall}
        drawn = {"dice": dice, "iou": iou, "precision": precision, "recall": recall}
        rows.append({"name": row.name, **_with_ends(scores, drawn), "pixels": row.pixels, "predicted": row.predicted})
    return rows


def organ_rows(matrices: NDArray[np.int64], tissues: Sequence[str], seed: int = 0) -> list[Row]:
    """A row an organ, in order of names, and one of all images: every score of `summary`, with intervals.

    Of N images it takes the confusion matrices `[N, T, T]` and the tissues, and of the bootstrap the seed.
    """
    groups = {**by_tissue(matrices, tissues), POOLED: matrices}
    rows: list[Row] = []
    for organ, group in groups.items():
        scores = _with_ends(summary(group.sum(axis=0)), summary(resample(group, seed=seed)))
        rows.append({"organ": organ, "images": len(group), **scores})
    return rows


def organ_class_rows(matrices: NDArray[np.int64], tissues: Sequence[str], seed: int = 0) -> list[Row]:
    """The rows of `class_rows` for each organ, in order of names."""
    groups = by_tissue(matrices, tissues)
    return [{"organ": organ, **row} for organ, group in groups.items() for row in class_rows(group, seed)]


def organ_spreads(matrices: NDArray[np.int64], tissues: Sequence[str]) -> dict[str, Spread]:
    """Plain mean, standard deviation and variance over organs of every score of `summary`."""
    organs = [summary(group.sum(axis=0)) for group in by_tissue(matrices, tissues).values()]
    return {name: over_organs([float(organ[name]) for organ in organs]) for name in organs[0]}


def _with_ends(scores: Mapping[str, float | Floats], drawn: Mapping[str, Floats]) -> Row:
    row: Row = {}
    for name, score in scores.items():
        low, high, _ = interval(drawn[name])
        row |= {name: float(score), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
