import math
import time

import numpy as np
import pytest
import torch
from monai.metrics import PanopticQualityMetric

from monch_monai.metrics import Instances, instances, pannuke_pq, panoptic_counts, panoptic_quality, pooled_pq
from tests.fakes.labels import PLAIN, SEVERAL
from tests.fakes.nuclei import discs, disturbed, random_instances

PLACES = [(12, 12), (40, 12), (12, 40), (44, 44)]
NOTHING = Instances(np.zeros((64, 64), np.int64), np.zeros(1, np.uint8))


def slow_counts(guess, truth):
    """TP, FP, FN and sum of IoU, each class on its own masks, every pair looked at."""
    counts = np.zeros((6, 4))
    for c in range(6):
        of_class = [
            [n.ids == i for i in range(1, len(n.classes)) if c in (0, n.classes[i])] for n in (truth, guess)
        ]  # c = 0: any
        found = [[(t & g).sum() / (t | g).sum() for g in of_class[1]] for t in of_class[0]]
        matches = [iou for row in found for iou in row if iou > 0.5]
        counts[c] = len(matches), len(of_class[1]) - len(matches), len(of_class[0]) - len(matches), sum(matches)
    return counts


def test_a_perfect_map_has_quality_one():
    truth = discs(PLACES, classes=[1, 2, 2, 5])
    scores = panoptic_quality(panoptic_counts(truth, truth, PLAIN))
    for score in scores:
        assert score[[0, 1, 2, 5]].tolist() == [1, 1, 1, 1]
        assert np.isnan(score[[3, 4]]).all()


@pytest.mark.parametrize("seed", range(5))
def test_numbering_does_not_matter(seed):
    truth = random_instances(seed)
    guess = disturbed(truth, seed)
    order = np.append(0, np.random.default_rng(seed).permutation(len(guess.classes) - 1) + 1)
    classes = np.zeros_like(guess.classes)
    classes[order] = guess.classes
    shuffled = Instances(order[guess.ids], classes)
    assert panoptic_counts(shuffled, truth, PLAIN) == pytest.approx(panoptic_counts(guess, truth, PLAIN), abs=1e-12)


def test_squares_moved_by_a_quarter_have_the_iou_of_the_hand():
    ids = np.zeros((20, 20), np.int64)
    ids[2:10, 2:10] = 1
    truth = Instances(ids, np.array([0, 3], np.uint8))
    guess = Instances(np.roll(ids, 2, axis=1), np.array([0, 3], np.uint8))  # 48 of 64 pixels shared: IoU 48 / 80
    assert panoptic_counts(guess, truth, PLAIN)[3].tolist() == [1, 0, 0, 0.6]
    pq, dq, sq = (score[3] for score in panoptic_quality(panoptic_counts(guess, truth, PLAIN)))
    assert (pq, dq, sq) == (0.6, 1, 0.6)


def test_moved_discs_have_the_iou_that_counting_their_pixels_gives():
    truth, guess = discs(PLACES, radius=6), discs(PLACES, radius=6, shift=2)
    # chords of a disc of radius 6, by row: 1, 7, 9, 11, 11, 11, 13, 11, 11, 11, 9, 7, 1; moved by 2 each loses 2
    chords = np.array([1, 7, 9, 11, 11, 11, 13, 11, 11, 11, 9, 7, 1])
    area, shared = chords.sum(), np.maximum(chords - 2, 0).sum()
    assert (truth.ids == 1).sum() == area == 113
    iou = shared / (2 * area - shared)
    assert panoptic_quality(panoptic_counts(guess, truth, PLAIN)).pq[0] == pytest.approx(iou, abs=1e-12)
    far = panoptic_quality(panoptic_counts(discs(PLACES, radius=6, shift=6), truth, PLAIN))
    assert (far.pq[0], far.dq[0]) == (0, 0)
    assert math.isnan(far.sq[0])


def test_an_iou_of_one_half_is_no_match():
    truth = Instances(np.array([[1, 1, 0]]), np.array([0, 1], np.uint8))
    guess = Instances(np.array([[1, 0, 0]]), np.array([0, 1], np.uint8))
    assert panoptic_counts(guess, truth, PLAIN)[1].tolist() == [0, 1, 1, 0]


def test_a_nucleus_of_the_wrong_class_is_found_for_any_class_and_lost_for_both():
    truth, guess = discs(PLACES[:1], classes=[2]), discs(PLACES[:1], classes=[4])
    counts = panoptic_counts(guess, truth, PLAIN)
    assert counts[[0, 2, 4]].tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]


def test_one_pixel_nuclei_count_like_others():
    truth = Instances(np.array([[1, 0, 2]]), np.array([0, 1, 1], np.uint8))
    guess = Instances(np.array([[1, 2, 0]]), np.array([0, 1, 1], np.uint8))
    assert panoptic_counts(guess, truth, PLAIN)[1].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("guess", "truth", "expected"), [
    (NOTHING, NOTHING, [0, 0, 0, 0]),
    (discs(PLACES), NOTHING, [0, 4, 0, 0]),
    (NOTHING, discs(PLACES), [0, 0, 4, 0]),
], ids=["both", "truth", "prediction"])  # fmt: skip
def test_empty_images(guess, truth, expected):
    assert panoptic_counts(guess, truth, PLAIN)[0].tolist() == expected
    pq = panoptic_quality(expected).pq
    assert math.isnan(pq) if guess is truth else pq == 0


def test_200_random_maps_agree_with_a_second_implementation_and_with_monai():
    matched = 0
    for seed in range(200):
        truth = random_instances(seed)
        guess = disturbed(truth, seed)
        counts = panoptic_counts(guess, truth, PLAIN)
        assert counts == pytest.approx(slow_counts(guess, truth), abs=1e-12)
        metric = PanopticQualityMetric(5, reduction="none", return_confusion_matrix=True)
        pair = [torch.from_numpy(np.stack([n.ids, n.classes[n.ids].astype(np.int64)]))[None] for n in (guess, truth)]
        metric(*pair)
        assert counts[1:] == pytest.approx(metric.aggregate()[0].numpy(), abs=1e-5)
        matched += counts[1:, 0].sum()
    assert matched > 300


def images(count=30):
    pairs = [(disturbed(truth, seed), truth) for seed, truth in ((s, random_instances(s)) for s in range(count))]
    return np.stack([panoptic_counts(guess, truth, PLAIN) for guess, truth in pairs])


def test_pooled_quality_agrees_with_monais():
    counts = images()
    scores, mpq_plus = pooled_pq(counts)
    tp, fp, fn, iou = counts.sum(axis=0).T
    assert scores.pq == pytest.approx(iou / (tp + fp / 2 + fn / 2), abs=1e-12)
    assert mpq_plus == pytest.approx(scores.pq[1:].mean(), abs=1e-12)


def nan_means(counts, tissues, strict):
    """PanNuke's rule in so many words."""
    by_tissue = {}
    for image, tissue in zip(counts, tissues, strict=True):
        pqs = []
        for tp, fp, fn, iou in image:
            absent = tp + fn == 0 and not (strict and fp > 0)
            pqs.append(math.nan if absent else iou / (tp + 0.5 * fp + 0.5 * fn))
        by_tissue.setdefault(tissue, []).append(
            (pqs[0], np.nanmean(pqs[1:]) if not np.isnan(pqs[1:]).all() else math.nan)
        )
    over = {tissue: [np.nanmean([p[k] for p in pairs]) for k in (0, 1)] for tissue, pairs in by_tissue.items()}
    return over, np.mean(list(over.values()), axis=0)


@pytest.mark.parametrize("strict", [False, True])
def test_pannukes_rule_agrees_with_its_words(strict):
    counts = images()
    tissues = [("Breast", "Colon", "Skin")[i % 3] for i in range(len(counts))]
    scores = pannuke_pq(counts, tissues, strict=strict)
    over, (bpq, mpq) = nan_means(counts, tissues, strict)
    assert (scores.bpq, scores.mpq) == pytest.approx((bpq, mpq), abs=1e-12)
    for tissue, (b, m) in over.items():
        assert (scores.bpq_by_tissue[tissue], scores.mpq_by_tissue[tissue]) == pytest.approx((b, m), abs=1e-12)


def test_official_strict_and_pooled_differ_where_a_class_is_absent():
    right = [[1, 0, 0, 0.8], [1, 0, 0, 0.8], *[[0, 0, 0, 0]] * 4]
    also_found = [[1, 1, 0, 0.8], [1, 0, 0, 0.8], [0, 1, 0, 0], *[[0, 0, 0, 0]] * 3]  # class 2, which is not there
    counts = np.array([right, also_found])
    official, strict = pannuke_pq(counts, ["Skin", "Skin"]), pannuke_pq(counts, ["Skin", "Skin"], strict=True)
    assert official.mpq == pytest.approx(0.8, abs=1e-15)
    assert strict.mpq == pytest.approx((0.8 + 0.4) / 2, abs=1e-15)
    assert official.pq_by_class[:2] == pytest.approx([0.8, math.nan], nan_ok=True)
    assert strict.pq_by_class[:2] == pytest.approx([0.8, 0])
    assert pooled_pq(counts)[1] == pytest.approx((0.8 + 0) / 2, abs=1e-15)
    assert official.bpq == strict.bpq == pytest.approx((0.8 + 0.8 / 1.5) / 2, abs=1e-15)


def test_tissues_weigh_the_same_whatever_their_number_of_images():
    full = np.tile([1.0, 0, 0, 1.0], (6, 1))
    missed = np.tile([0.0, 0, 1, 0], (6, 1))
    assert pannuke_pq([full, full, full, missed], ["Skin", "Skin", "Skin", "Lung"]).mpq == 0.5


def test_images_without_nuclei_have_no_say():
    full, empty = np.tile([1.0, 0, 0, 1.0], (6, 1)), np.zeros((6, 4))
    scores = pannuke_pq([full, empty, empty], ["Skin", "Skin", "Lung"])
    assert scores.mpq == 1
    assert math.isnan(scores.mpq_by_tissue["Lung"])
    assert math.isnan(pannuke_pq([empty], ["Skin"]).bpq)


def test_refuses_with_a_reason():
    with pytest.raises(ValueError, match=r"prediction is \[64, 64\], truth \[48, 56\]: sizes must agree"):
        panoptic_counts(NOTHING, random_instances(0), PLAIN)
    with pytest.raises(ValueError, match="counts of 2 images with 1 tissues"):
        pannuke_pq(np.zeros((2, 6, 4)), ["Skin"])


def test_a_field_of_a_thousand_nuclei_takes_a_moment():
    places = [(x, y) for x in range(15, 990, 30) for y in range(15, 990, 30)]
    truth = Instances(np.zeros((1000, 1000), np.int64), np.ones(len(places) + 1, np.uint8))
    for i, (x, y) in enumerate(places, start=1):
        truth.ids[y - 9 : y + 9, x - 9 : x + 9] = i
    start = time.process_time()
    assert panoptic_counts(truth, truth, PLAIN)[0].tolist() == [len(places), 0, 0, len(places)]
    assert time.process_time() - start < 3


def test_labels_of_several_classes_that_the_truth_lacks_change_no_mean():
    def nuclei(*classes, labels):
        ids = np.arange(1, len(classes) + 1).repeat(4)[None]
        return instances(ids, np.array(classes).repeat(4)[None], labels)

    found, truth = nuclei(1, 5, 1, labels=6), nuclei(1, 1, 2, labels=len(SEVERAL))
    for score in (lambda c: pannuke_pq(c, ["Colon"], strict=True).mpq, lambda c: pooled_pq(c)[1]):
        assert score([panoptic_counts(found, truth, SEVERAL)]) == score([panoptic_counts(found, truth, PLAIN)])
    some = panoptic_counts(found, nuclei(1, 6, 7, labels=len(SEVERAL)), SEVERAL)
    assert [row.tolist() for row in some[[0, 1, 5, 6, 7]]] == [
        [3, 0, 0, 3],
        [1, 0, 0, 1],
        [0] * 4,
        [1, 0, 0, 1],
        [0] * 4,
    ]
