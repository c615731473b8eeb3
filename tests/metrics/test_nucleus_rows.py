import math

import numpy as np
import pytest

from monch_monai.metrics import detection_matrix, pannuke_pq, panoptic_counts, panoptic_quality, pooled_pq
from monch_monai.metrics.nucleus_rows import (
    nucleus_class_rows,
    nucleus_intervals,
    nucleus_means,
    nucleus_organ_rows,
)
from tests.fakes.labels import PLAIN
from tests.fakes.nuclei import discs, disturbed, random_instances

PAIRS = [(disturbed(random_instances(seed), seed), random_instances(seed)) for seed in range(24)]
PANOPTIC = np.stack([panoptic_counts(*pair, PLAIN) for pair in PAIRS])
DETECTION = np.stack([detection_matrix(*pair, PLAIN) for pair in PAIRS])
TISSUES = [("Skin", "Breast", "Lung")[i % 3] for i in range(24)]


def test_rows_of_classes_have_every_score_under_its_name():
    rows = {row["name"]: row for row in nucleus_class_rows(PANOPTIC, DETECTION, TISSUES, PLAIN)}
    assert list(rows) == ["neoplastic", "inflammatory", "connective", "dead", "epithelial", "any nucleus"]
    pooled = panoptic_quality(PANOPTIC.sum(axis=0))
    dead = rows["dead"]
    assert (dead["pq"], dead["dq"], dead["sq"]) == (pooled.pq[4], pooled.dq[4], pooled.sq[4])
    assert dead["pq_pannuke"] == pannuke_pq(PANOPTIC, TISSUES).pq_by_class[3]
    assert dead["pq_strict"] == pannuke_pq(PANOPTIC, TISSUES, strict=True).pq_by_class[3]
    assert dead["nuclei"] == sum((truth.classes == 4).sum() for _, truth in PAIRS)
    assert dead["predicted"] == sum((guess.classes == 4).sum() for guess, _ in PAIRS)
    anything = rows["any nucleus"]
    assert anything["nuclei"] == sum(len(truth.classes) - 1 for _, truth in PAIRS)
    assert anything["pq"] == pooled.pq[0]
    one_tissue = pannuke_pq(PANOPTIC, ["Skin"] * 24)
    assert anything["pq_pannuke"] == pytest.approx(one_tissue.bpq, abs=1e-12)
    strict = pannuke_pq(PANOPTIC, ["Skin"] * 24, strict=True)
    assert anything["pq_strict"] == pytest.approx(strict.bpq, abs=1e-12)


def test_strict_scores_are_never_above_official_ones():
    for row in nucleus_class_rows(PANOPTIC, DETECTION, TISSUES, PLAIN):
        assert row["pq_strict"] <= row["pq_pannuke"]
    means = nucleus_means(PANOPTIC, TISSUES)
    assert means["mpq_strict"] < means["mpq"]
    assert means["bpq_strict"] <= means["bpq"]


def test_rows_of_organs_and_their_means():
    rows = nucleus_organ_rows(PANOPTIC, TISSUES)
    assert [(row["organ"], row["images"]) for row in rows] == [("Breast", 8), ("Lung", 8), ("Skin", 8)]
    means = nucleus_means(PANOPTIC, TISSUES)
    for name in ("mpq", "bpq", "mpq_strict", "bpq_strict"):
        assert means[name] == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-12)
    assert (means["mpq_plus"], means["bpq_plus"]) == (pooled_pq(PANOPTIC)[1], pooled_pq(PANOPTIC)[0].pq[0])


def test_intervals_hold_the_means():
    means, ends = nucleus_means(PANOPTIC, TISSUES), nucleus_intervals(PANOPTIC, TISSUES, resamples=200)
    assert list(ends) == list(means)
    assert all(low < means[name] < high for name, (low, high) in ends.items())
    assert nucleus_intervals(PANOPTIC, TISSUES, resamples=200) == ends


def test_a_perfect_set_has_ones_and_intervals_of_no_width():
    truth = discs([(12, 12), (40, 12)], classes=[1, 5])
    panoptic = np.stack([panoptic_counts(truth, truth, PLAIN)] * 3)
    assert set(nucleus_means(panoptic, ["Skin"] * 3).values()) == {1.0}
    assert set(nucleus_intervals(panoptic, ["Skin"] * 3, resamples=10).values()) == {(1.0, 1.0)}


def test_a_set_without_nuclei_has_no_score():
    rows = nucleus_class_rows(np.zeros((2, 6, 4)), np.zeros((2, 6, 6), np.int64), ["Skin", "Lung"], PLAIN)
    assert all(math.isnan(row[name]) for row in rows for name in ("pq", "pq_pannuke", "pq_strict", "f1"))
    assert all(math.isnan(value) for value in nucleus_means(np.zeros((2, 6, 4)), ["Skin", "Lung"]).values())
