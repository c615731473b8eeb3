"""Scores where the truth is one of several classes, against plain counting."""

import numpy as np
import pytest
import torch

from monch_monai.metrics import (
    Instances,
    classification_scores,
    confusion_matrix,
    detection_matrix,
    mean_dice,
    panoptic_counts,
    pixel_accuracy,
    pixel_scores,
    score_rows,
    summary,
)
from tests.fakes.labels import PLAIN, SEVERAL


@pytest.mark.parametrize("seed", range(5))
def test_pixels_of_several_classes_are_right_for_each_and_never_false_for_them(seed):
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, 8, 400), rng.integers(0, 6, 400)
    matrix = confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), SEVERAL).numpy()
    assert matrix.shape == (8, 6)
    for value, row in zip(SEVERAL.rows, score_rows(matrix, SEVERAL), strict=False):
        members = set(SEVERAL.sets[value])
        own = [(t, g) for t, g in zip(truth, guess, strict=True) if t == value]
        right = sum(g in members for _, g in own)
        others = [g for t, g in zip(truth, guess, strict=True) if not members & set(SEVERAL.sets[t])]
        false = sum(g in members for g in others)
        assert row.dice == pytest.approx(2 * right / (right + len(own) + false))
        assert row.precision == pytest.approx(right / (right + false))
        assert row.pixels == len(own)
        assert row.predicted == sum(g in members for g in guess)
    right = sum(g in SEVERAL.sets[t] for t, g in zip(truth, guess, strict=True))
    assert float(pixel_accuracy(matrix, SEVERAL)) == pytest.approx(right / 400)
    binary = score_rows(matrix, SEVERAL)[-1]
    both = sum((t > 0) and (g > 0) for t, g in zip(truth, guess, strict=True))
    assert binary.dice == pytest.approx(2 * both / ((truth > 0).sum() + (guess > 0).sum()))


def test_nuclei_without_a_class_alone_have_the_binary_dice():
    matrix = np.zeros((8, 6), int)
    matrix[0, 0], matrix[7, 2], matrix[7, 0], matrix[0, 3] = 50, 8, 2, 2
    assert mean_dice(matrix, SEVERAL) == pytest.approx(16 / 20)
    assert [row.name for row in score_rows(matrix, SEVERAL)][6:] == ["neoplastic or epithelial", "any nucleus"]


def test_labels_without_sets_score_as_classes():
    matrix = np.random.default_rng(0).integers(0, 50, (6, 6))
    for plain, of_labels in zip(pixel_scores(matrix), pixel_scores(matrix, PLAIN), strict=True):
        assert np.array_equal(plain, of_labels)


def nuclei(*classes):
    """One nucleus of two pixels for each class, apart; 0 leaves its place empty."""
    ids, kept = np.zeros((1, 40 * len(classes)), np.int64), [0]
    for place, c in enumerate(classes):
        if c:
            kept.append(c)
            ids[0, 40 * place : 40 * place + 2] = len(kept) - 1
    return Instances(ids, np.array(kept, np.uint8))


def test_a_nucleus_of_several_classes_is_found_as_any_of_them_and_costs_none_of_them():
    truth = nuclei(6, 6, 6, 1, 7, 7, 6)
    found = nuclei(1, 5, 3, 1, 2, 0, 0)
    counts = panoptic_counts(found, truth, SEVERAL)[:, :3].astype(int)
    assert counts[6].tolist() == [2, 0, 2]  # one as connective, one missed
    assert counts[1].tolist() == [1, 0, 0]
    assert counts[5].tolist() == [0, 0, 0]
    assert counts[3].tolist() == [0, 1, 0]  # the connective one can be none
    assert counts[2].tolist() == [0, 0, 0]
    assert counts[0].tolist() == [5, 0, 2]
    matrix = detection_matrix(found, truth, SEVERAL)
    assert matrix.shape == (8, 6)
    scores = classification_scores(matrix, SEVERAL)
    assert scores.recall[5] == pytest.approx(2 / (2 + 2 * 1 + 1))
    assert scores.f1[0] == 1
    assert scores.precision[5] == 1


def test_the_mean_of_all_scores_is_the_mean_dice_whatever_labels_the_truth_has():
    matrix = np.zeros((8, 6))
    matrix[0, :2], matrix[1, :2], matrix[6, 5], matrix[7, :2] = (90, 5), (10, 10), 4, (10, 30)
    nuclei_without_classes = np.where(np.arange(8)[:, None] % 7, 0, matrix)
    for counts in (matrix, nuclei_without_classes):
        assert float(summary(counts, SEVERAL)["mean_f1_of_nuclei"]) == pytest.approx(mean_dice(counts, SEVERAL))
    both = summary(np.stack([matrix, nuclei_without_classes]), SEVERAL)["mean_f1_of_nuclei"]
    assert both.tolist() == [
        summary(counts, SEVERAL)["mean_f1_of_nuclei"] for counts in (matrix, nuclei_without_classes)
    ]
