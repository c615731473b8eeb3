import math

import numpy as np
import pytest
import sklearn.metrics
import torch

from monch_monai.class_table import PANNUKE
from monch_monai.metrics import confusion_matrix
from monch_monai.metrics.pixels import (
    any_nucleus,
    frequency_weighted_iou,
    mean_dice,
    pixel_accuracy,
    pixel_scores,
    score_rows,
)
from tests.fakes.class_maps import random_maps, square
from tests.fakes.labels import PLAIN


def rows_by_name(matrix):
    return {row.name: row for row in score_rows(matrix, PLAIN)}


def test_half_overlapping_squares_have_dice_one_half_and_iou_one_third():
    rows = rows_by_name(confusion_matrix(square(2, 5), square(2, 0), PLAIN))
    assert rows["inflammatory"] == ("inflammatory", 0.5, 1 / 3, 0.5, 0.5, 100, 100)
    assert rows["any nucleus"] == ("any nucleus", 0.5, 1 / 3, 0.5, 0.5, 100, 100)
    assert rows["background"] == ("background", 2 * 250 / 600, 250 / 350, 250 / 300, 250 / 300, 300, 300)


def test_a_perfect_prediction_scores_one():
    truth = torch.arange(6).repeat(7)
    matrix = confusion_matrix(truth, truth, PLAIN)
    assert [row.dice for row in score_rows(matrix, PLAIN)] == [1.0] * 7
    assert [row.iou for row in score_rows(matrix, PLAIN)] == [1.0] * 7
    assert mean_dice(matrix, PLAIN) == 1.0


def test_an_absent_class_is_nan_and_not_in_the_mean():
    matrix = confusion_matrix(square(2, 5), square(2, 0), PLAIN)
    for name in ("neoplastic", "connective", "dead", "epithelial"):
        row = rows_by_name(matrix)[name]
        assert math.isnan(row.dice)
        assert math.isnan(row.iou)
        assert row.pixels == 0
    assert mean_dice(matrix, PLAIN) == 0.5


def test_a_class_that_is_predicted_where_the_truth_has_none_of_it_is_not_in_the_mean():
    guess = square(2, 0)
    guess[0, 0] = 4
    matrix = confusion_matrix(guess, square(2, 0), PLAIN)
    assert math.isnan(rows_by_name(matrix)["dead"].dice)
    assert mean_dice(matrix, PLAIN) == 1.0


def test_a_present_class_that_is_missed_counts_zero():
    truth = square(2, 0)
    truth[0, 0] = 4
    matrix = confusion_matrix(square(2, 0), truth, PLAIN)
    dead = rows_by_name(matrix)["dead"]
    assert (dead.dice, dead.iou, dead.recall, dead.pixels, dead.predicted) == (0.0, 0.0, 0.0, 1, 0)
    assert math.isnan(dead.precision)
    assert mean_dice(matrix, PLAIN) == 0.5


def test_background_is_not_in_the_mean():
    matrix = confusion_matrix(torch.zeros(20, 20, dtype=torch.uint8), square(1, 0), PLAIN)
    assert mean_dice(matrix, PLAIN) == 0.0


def test_any_nucleus_does_not_ask_for_the_class():
    rows = rows_by_name(confusion_matrix(square(3, 5), square(1, 0), PLAIN))
    assert rows["neoplastic"].dice == 0.0
    assert rows["any nucleus"] == ("any nucleus", 0.5, 1 / 3, 0.5, 0.5, 100, 100)


def test_ignored_pixels_are_not_counted():
    truth, guess = square(2, 0), square(2, 5)
    truth[:, 10:] = 255  # half of the prediction lies here
    matrix = confusion_matrix(guess, truth, PLAIN)
    assert int(matrix.sum()) == 200
    assert rows_by_name(matrix)["inflammatory"] == ("inflammatory", 2 * 50 / 150, 0.5, 1.0, 0.5, 100, 50)


def test_a_picture_without_nuclei_has_no_mean():
    empty = torch.zeros(8, 8, dtype=torch.uint8)
    matrix = confusion_matrix(empty, empty, PLAIN)
    assert math.isnan(mean_dice(matrix, PLAIN))
    assert rows_by_name(matrix)["background"] == ("background", 1.0, 1.0, 1.0, 1.0, 64, 64)
    assert math.isnan(rows_by_name(matrix)["any nucleus"].dice)


@pytest.mark.parametrize("y", [torch.zeros(0, 1, 4, 4), torch.full((4, 4), 255)])
def test_no_counted_pixels_give_zero_counts(y):
    matrix = confusion_matrix(torch.zeros_like(y).byte(), y.byte(), PLAIN)
    assert torch.equal(matrix, torch.zeros(6, 6, dtype=torch.int64))
    assert math.isnan(mean_dice(matrix, PLAIN))


@pytest.mark.parametrize("seed", range(5))
def test_dice_is_the_f1_that_belongs_to_the_iou(seed):
    rows = score_rows(confusion_matrix(*(torch.from_numpy(m) for m in random_maps(seed)), PLAIN), PLAIN)
    assert [row.dice for row in rows] == pytest.approx([2 * row.iou / (1 + row.iou) for row in rows], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_counting_pixel_sets(seed):
    guess, truth = random_maps(seed)
    rows = rows_by_name(confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), PLAIN))
    g, t = guess[truth != 255], truth[truth != 255]
    sets = {c.name: (g == c.index, t == c.index) for c in PANNUKE.classes} | {"any nucleus": (g > 0, t > 0)}
    for name, (in_guess, in_truth) in sets.items():
        both, either = (in_guess & in_truth).sum(), (in_guess | in_truth).sum()
        assert rows[name].pixels == in_truth.sum()
        assert rows[name].iou == pytest.approx(both / either, abs=1e-12)
        assert rows[name].dice == pytest.approx(2 * both / (in_guess.sum() + in_truth.sum()), abs=1e-12)
    of_nuclei = [rows[c.name].dice for c in PANNUKE.classes[1:]]
    mean = mean_dice(confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), PLAIN), PLAIN)
    assert mean == pytest.approx(np.mean(of_nuclei), abs=1e-12)


def test_a_class_predicted_but_not_in_the_truth_has_no_score_and_its_pixels_are_told():
    guess = square(2, 0)
    guess[0, :3] = 4
    dead = rows_by_name(confusion_matrix(guess, square(2, 0), PLAIN))["dead"]
    assert (dead.pixels, dead.predicted) == (0, 3)
    assert all(math.isnan(score) for score in dead[1:5])


def test_accuracy_and_weighted_iou_of_half_overlapping_squares():
    matrix = confusion_matrix(square(2, 5), square(2, 0), PLAIN)
    assert pixel_accuracy(matrix) == 300 / 400
    assert frequency_weighted_iou(matrix) == pytest.approx(0.75 * 250 / 350 + 0.25 / 3, abs=1e-15)


def test_nothing_counted_has_no_accuracy():
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    assert math.isnan(pixel_accuracy(matrix))
    assert math.isnan(frequency_weighted_iou(matrix))


def test_many_matrices_at_once_score_as_one_by_one():
    matrices = np.stack([confusion_matrix(*map(torch.from_numpy, random_maps(seed)), PLAIN) for seed in range(6)])
    matrices[0, 3] = 0
    stacked = matrices.reshape(2, 3, 6, 6)
    for function in (pixel_accuracy, frequency_weighted_iou):
        assert np.array_equal(function(stacked).ravel(), [function(m) for m in matrices])
    for name, scores in pixel_scores(stacked)._asdict().items():
        single = np.stack([getattr(pixel_scores(m), name) for m in matrices])
        assert np.array_equal(scores.reshape(6, 6), single, equal_nan=True)
    assert np.array_equal(any_nucleus(stacked).reshape(6, 2, 2), [any_nucleus(m) for m in matrices])


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed):
    guess, truth = random_maps(seed)
    g, t = guess[truth != 255], truth[truth != 255]
    matrix = confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), PLAIN)
    assert np.array_equal(matrix, sklearn.metrics.confusion_matrix(t, g, labels=range(6)))
    precision, recall, f1, pixels = sklearn.metrics.precision_recall_fscore_support(t, g, labels=range(6))
    iou = sklearn.metrics.jaccard_score(t, g, labels=range(6), average=None)
    ours = pixel_scores(matrix)
    for mine, theirs in ((ours.precision, precision), (ours.recall, recall), (ours.f1, f1), (ours.iou, iou)):
        assert mine == pytest.approx(theirs, abs=1e-12)
    assert pixel_accuracy(matrix) == pytest.approx(sklearn.metrics.accuracy_score(t, g), abs=1e-12)
    weighted = sklearn.metrics.jaccard_score(t, g, average="weighted")
    assert frequency_weighted_iou(matrix) == pytest.approx(weighted, abs=1e-12)
    assert [row.pixels for row in score_rows(matrix, PLAIN)[:-1]] == pixels.tolist()
