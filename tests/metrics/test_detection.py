import itertools
import math

import numpy as np
import pytest

from monch_monai.metrics import (
    Instances,
    classification_scores,
    detection_matrix,
    detection_scores,
    panoptic_counts,
)
from monch_monai.metrics.instances import centroids
from tests.fakes.labels import PLAIN
from tests.fakes.nuclei import discs, disturbed, random_instances

PLACES = [(12, 12), (40, 12), (12, 40), (44, 44)]


def points(*places, classes=None, shape=(40, 60)):
    """One-pixel nuclei at (x, y)."""
    ids = np.zeros(shape, np.int64)
    for i, (x, y) in enumerate(places, start=1):
        ids[y, x] = i
    return Instances(ids, np.array([0, *(classes or [1] * len(places))], np.uint8))


def best_assignment(truth, guess, radius):
    """Pairs of the assignment of least total distance, by trying all."""
    a, b = centroids(truth), centroids(guess)
    swap = len(a) > len(b)
    few, many = (b, a) if swap else (a, b)
    distance = np.linalg.norm(few[:, None] - many[None], axis=-1)
    best = min(
        itertools.permutations(range(len(many)), len(few)),
        key=lambda chosen: sum(distance[i, j] for i, j in enumerate(chosen)),
    )
    pairs = [(i, j) for i, j in enumerate(best) if distance[i, j] <= radius]
    return [(j, i) if swap else (i, j) for i, j in pairs]


def test_a_perfect_map_has_f1_one_for_every_class_it_has():
    truth = discs(PLACES, classes=[1, 2, 2, 5])
    matrix = detection_matrix(truth, truth, PLAIN)
    assert [float(v) for v in detection_scores(matrix)] == [1, 1, 1]
    assert classification_scores(matrix).f1 == pytest.approx([1, 1, math.nan, math.nan, 1], nan_ok=True)


def test_centres_twelve_px_apart_are_partners_and_farther_ones_are_not():
    truth = points((10, 10))
    assert detection_matrix(points((22, 10)), truth, PLAIN)[1, 1] == 1
    lost = detection_matrix(points((22, 11)), truth, PLAIN)
    assert (lost[1, 1], lost[1, 0], lost[0, 1]) == (0, 1, 1)
    assert detection_matrix(points((22, 11)), truth, PLAIN, radius_px=13)[1, 1] == 1


def test_each_nucleus_has_one_partner():
    matrix = detection_matrix(points((10, 10), (12, 10), (11, 12)), points((11, 11)), PLAIN)
    assert (matrix[1, 1], matrix[0, 1]) == (1, 2)


def test_f1_is_the_hand_s():
    # Pairs: 1-1 three times, 1-2 once, 2-2 twice; missed: one of 1; extra: two of 2.
    matrix = np.zeros((6, 6), np.int64)
    matrix[1, 1], matrix[1, 2], matrix[2, 2], matrix[1, 0], matrix[0, 2] = 3, 1, 2, 1, 2
    detected = detection_scores(matrix)
    assert detected == pytest.approx((12 / (12 + 1 + 2), 6 / 8, 6 / 7), abs=1e-15)
    typed = classification_scores(matrix)
    assert typed.f1[:2] == pytest.approx([6 / (6 + 2 * 1 + 1), 4 / (4 + 2 * 1 + 2)], abs=1e-15)
    assert typed.precision[:2] == pytest.approx([3 / 3, 2 / (2 + 2 * 1 + 2)], abs=1e-15)
    assert typed.recall[:2] == pytest.approx([3 / (3 + 2 * 1 + 1), 2 / 2], abs=1e-15)


def test_a_class_that_is_only_predicted_has_no_score():
    matrix = np.zeros((6, 6), np.int64)
    matrix[1, 1], matrix[0, 4] = 1, 1
    assert math.isnan(classification_scores(matrix).f1[3])
    assert detection_scores(matrix).precision == 0.5


@pytest.mark.parametrize("empty", ["both", "truth", "prediction"])
def test_empty_images(empty):
    some, none = discs(PLACES), discs([])
    truth, guess = none if empty != "prediction" else some, none if empty != "truth" else some
    matrix = detection_matrix(guess, truth, PLAIN)
    assert matrix.sum() == (0 if empty == "both" else 4)
    f1 = detection_scores(matrix).f1
    assert math.isnan(f1) if empty == "both" else f1 == 0


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_trying_every_assignment(seed):
    truth = random_instances(seed, most=6)
    guess = disturbed(truth, seed)
    if min(len(truth.classes), len(guess.classes)) < 2 or max(len(truth.classes), len(guess.classes)) > 8:
        return
    expected = np.zeros((6, 6), np.int64)
    pairs = best_assignment(truth, guess, 12)
    for i, j in pairs:
        expected[truth.classes[i + 1], guess.classes[j + 1]] += 1
    for i in set(range(len(truth.classes) - 1)) - {i for i, _ in pairs}:
        expected[truth.classes[i + 1], 0] += 1
    for j in set(range(len(guess.classes) - 1)) - {j for _, j in pairs}:
        expected[0, guess.classes[j + 1]] += 1
    assert detection_matrix(guess, truth, PLAIN).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_totals_are_those_of_the_panoptic_counts(seed):
    truth = random_instances(seed)
    guess = disturbed(truth, seed)
    matrix, counts = detection_matrix(guess, truth, PLAIN), panoptic_counts(guess, truth, PLAIN)
    assert matrix[1:].sum() == counts[0, 0] + counts[0, 2]
    assert matrix[:, 1:].sum() == counts[0, 0] + counts[0, 1]
    assert (matrix.sum(axis=1)[1:] == counts[1:, 0] + counts[1:, 2]).all()
