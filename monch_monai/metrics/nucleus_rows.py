"""Scores of nuclei as rows of tables, and the named means with their intervals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table import LabelSets
from monch_monai.metrics.bootstrap import RESAMPLES, draws, interval
from monch_monai.metrics.detection import classification_scores, detection_scores
from monch_monai.metrics.panoptic import pannuke_pq, panoptic_quality, pooled_pq
from monch_monai.metrics.rows import Row


def nucleus_class_rows(
    panoptic: NDArray[np.float64], detection: NDArray[np.int64], tissues: Sequence[str], labels: LabelSets
) -> list[Row]:
    """A row a label of nuclei, and one of any nucleus, which does not ask for the class.

    `pq`, `dq`, `sq` are of counts summed over all images, `pq_pannuke` and `pq_strict` means over images by PanNuke's
    rule and strictly. `f1`, `precision` and `recall` are those of classification, of any nucleus those of detection.

    Args:
        panoptic: `[N, L, 4]` from `panoptic_counts`, one an image.
        detection: `[N, L, T]` from `detection_matrix`, one an image.
        tissues: N names.
        labels: what the rows of both stand for.
    """
    summed = detection.sum(axis=0)
    pooled = panoptic_quality(panoptic.sum(axis=0))
    official, strict = (pannuke_pq(panoptic, tissues, strict=s).pq_by_class for s in (False, True))
    typed, found = classification_scores(summed, labels), detection_scores(summed)
    predicted = summed.sum(axis=0) @ labels.allowed.T
    rows: list[Row] = []
    for i in (*labels.rows[1:], 0):
        by_image = {"pq_pannuke": float(official[i - 1]), "pq_strict": float(strict[i - 1])} if i else _binary(panoptic)
        scores = {name: float(v[i - 1]) for name, v in typed._asdict().items()} if i else found._asdict()
        rows.append({
            "name": labels.names[i] if i else "any nucleus",
            **{name: float(values[i]) for name, values in pooled._asdict().items()},
            **by_image,
            **{name: float(value) for name, value in scores.items()},
            "nuclei": int(summed[i].sum() if i else summed[1:].sum()),
            "predicted": int(predicted[i] if i else summed[:, 1:].sum()),
        })  # fmt: skip
    return rows


def nucleus_organ_rows(panoptic: NDArray[np.float64], tissues: Sequence[str]) -> list[Row]:
    """A row an organ, in order of names: mPQ and bPQ over its images by PanNuke's rule, and strictly."""
    official, strict = pannuke_pq(panoptic, tissues), pannuke_pq(panoptic, tissues, strict=True)
    scores = {"mpq": official.mpq_by_tissue, "bpq": official.bpq_by_tissue}
    scores |= {"mpq_strict": strict.mpq_by_tissue, "bpq_strict": strict.bpq_by_tissue}
    return [
        {"organ": organ, "images": list(tissues).count(organ), **{name: of[organ] for name, of in scores.items()}}
        for organ in official.mpq_by_tissue
    ]


def nucleus_means(panoptic: NDArray[np.float64], tissues: Sequence[str]) -> dict[str, float]:
    """`mpq` and `bpq` over tissues (PanNuke's), `mpq_strict` and `bpq_strict`, and pooled `mpq_plus` and `bpq_plus`."""
    official, strict = pannuke_pq(panoptic, tissues), pannuke_pq(panoptic, tissues, strict=True)
    pooled, mpq_plus = pooled_pq(panoptic)
    by_image = {"mpq": official.mpq, "bpq": official.bpq, "mpq_strict": strict.mpq, "bpq_strict": strict.bpq}
    return {**by_image, "mpq_plus": mpq_plus, "bpq_plus": float(pooled.pq[0])}


def nucleus_intervals(
    panoptic: NDArray[np.float64], tissues: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Ends of the 95 % image-bootstrap interval of each of `nucleus_means`.

    A tissue that a resample has no image of is not in that resample's mean.
    """
    names = np.asarray(tissues, dtype=str)
    chosen = [np.repeat(np.arange(len(names)), drawn) for drawn in draws(len(names), resamples, seed)]
    means = [nucleus_means(panoptic[images], names[images].tolist()) for images in chosen]
    ends = {name: interval([mean[name] for mean in means]) for name in means[0]}
    return {name: (float(low), float(high)) for name, (low, high, _) in ends.items()}


def _binary(panoptic: NDArray[np.float64]) -> dict[str, float]:
    pq = panoptic_quality(panoptic[:, 0]).pq
    has_truth = panoptic[:, 0, 0] + panoptic[:, 0, 2] > 0
    means = {"pq_pannuke": pq[has_truth], "pq_strict": pq[~np.isnan(pq)]}
    return {name: float(values.mean()) if values.size else float("nan") for name, values in means.items()}
