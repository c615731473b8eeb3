import math

import numpy as np
import pytest
import torch

from monch_monai.classes import CLASSES
from monch_monai.metrics import confusion_matrix, mean_dice, score_rows


def square(class_index, left, size=20, side=10):
    """`[20, 20]` with a square of one class, 10 pixels wide."""
    made = torch.zeros(size, size, dtype=torch.uint8)
    made[5 : 5 + side, left : left + side] = class_index
    return made


def random_maps(seed, ignored=True):
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, 6, (3, 1, 17, 13)), rng.integers(0, 6, (3, 1, 17, 13))
    if ignored:
        truth[rng.random(truth.shape) < 0.1] = 255
    return guess, truth


def rows_by_name(matrix):
    return {row.name: row for row in score_rows(matrix)}


def test_half_overlapping_squares_have_dice_one_half_and_iou_one_third():
    rows = rows_by_name(confusion_matrix(square(2, 5), square(2, 0)))
    assert rows["inflammatory"] == ("inflammatory", 0.5, 1 / 3, 100)
    assert rows["any nucleus"] == ("any nucleus", 0.5, 1 / 3, 100)
    assert rows["background"] == ("background", 2 * 250 / 600, 250 / 350, 300)


def test_matrix_has_the_truth_in_rows():
    matrix = confusion_matrix(torch.tensor([1, 1, 2, 0]), torch.tensor([1, 2, 2, 2]), num_classes=3)
    assert matrix.tolist() == [[0, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert matrix.dtype == torch.int64


def test_a_perfect_prediction_scores_one():
    truth = torch.arange(6).repeat(7)
    matrix = confusion_matrix(truth, truth)
    assert [row.dice for row in score_rows(matrix)] == [1.0] * 7
    assert [row.iou for row in score_rows(matrix)] == [1.0] * 7
    assert mean_dice(matrix) == 1.0


def test_an_absent_class_is_nan_and_not_in_the_mean():
    matrix = confusion_matrix(square(2, 5), square(2, 0))
    for name in ("neoplastic", "connective", "dead", "epithelial"):
        row = rows_by_name(matrix)[name]
        assert math.isnan(row.dice)
        assert math.isnan(row.iou)
        assert row.pixels == 0
    assert mean_dice(matrix) == 0.5


def test_a_class_that_is_predicted_where_the_truth_has_none_of_it_is_not_in_the_mean():
    guess = square(2, 0)
    guess[0, 0] = 4
    matrix = confusion_matrix(guess, square(2, 0))
    assert math.isnan(rows_by_name(matrix)["dead"].dice)
    assert mean_dice(matrix) == 1.0


def test_a_present_class_that_is_missed_counts_zero():
    truth = square(2, 0)
    truth[0, 0] = 4
    matrix = confusion_matrix(square(2, 0), truth)
    assert rows_by_name(matrix)["dead"] == ("dead", 0.0, 0.0, 1)
    assert mean_dice(matrix) == 0.5


def test_background_is_not_in_the_mean():
    matrix = confusion_matrix(torch.zeros(20, 20, dtype=torch.uint8), square(1, 0))
    assert mean_dice(matrix) == 0.0


def test_any_nucleus_does_not_ask_for_the_class():
    rows = rows_by_name(confusion_matrix(square(3, 5), square(1, 0)))
    assert rows["neoplastic"].dice == 0.0
    assert rows["any nucleus"] == ("any nucleus", 0.5, 1 / 3, 100)


def test_ignored_pixels_are_not_counted():
    truth, guess = square(2, 0), square(2, 5)
    truth[:, 10:] = 255  # half of the prediction lies here
    matrix = confusion_matrix(guess, truth)
    assert int(matrix.sum()) == 200
    assert rows_by_name(matrix)["inflammatory"] == ("inflammatory", 2 * 50 / 150, 0.5, 100)


def test_prediction_under_ignored_pixels_may_be_anything():
    guess, truth = torch.tensor([255, 1]), torch.tensor([255, 1])
    assert int(confusion_matrix(guess, truth).sum()) == 1


def test_a_picture_without_nuclei_has_no_mean():
    empty = torch.zeros(8, 8, dtype=torch.uint8)
    matrix = confusion_matrix(empty, empty)
    assert math.isnan(mean_dice(matrix))
    assert rows_by_name(matrix)["background"] == ("background", 1.0, 1.0, 64)
    assert math.isnan(rows_by_name(matrix)["any nucleus"].dice)


@pytest.mark.parametrize("y", [torch.zeros(0, 1, 4, 4), torch.full((4, 4), 255)])
def test_no_counted_pixels_give_zero_counts(y):
    matrix = confusion_matrix(torch.zeros_like(y).byte(), y.byte())
    assert torch.equal(matrix, torch.zeros(6, 6, dtype=torch.int64))
    assert math.isnan(mean_dice(matrix))


def test_counts_of_two_images_add_up():
    guess, truth = (torch.from_numpy(m) for m in random_maps(1))
    apart = sum(confusion_matrix(g, t) for g, t in zip(guess, truth, strict=True))
    assert torch.equal(confusion_matrix(guess, truth), apart)


@pytest.mark.parametrize("seed", range(5))
def test_dice_is_the_f1_that_belongs_to_the_iou(seed):
    rows = score_rows(confusion_matrix(*(torch.from_numpy(m) for m in random_maps(seed))))
    assert [row.dice for row in rows] == pytest.approx([2 * row.iou / (1 + row.iou) for row in rows], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_counting_pixel_sets(seed):
    guess, truth = random_maps(seed)
    rows = rows_by_name(confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth)))
    g, t = guess[truth != 255], truth[truth != 255]
    sets = {c.name: (g == c.index, t == c.index) for c in CLASSES} | {"any nucleus": (g > 0, t > 0)}
    for name, (in_guess, in_truth) in sets.items():
        both, either = (in_guess & in_truth).sum(), (in_guess | in_truth).sum()
        assert rows[name].pixels == in_truth.sum()
        assert rows[name].iou == pytest.approx(both / either, abs=1e-12)
        assert rows[name].dice == pytest.approx(2 * both / (in_guess.sum() + in_truth.sum()), abs=1e-12)
    of_nuclei = [rows[c.name].dice for c in CLASSES[1:]]
    mean = mean_dice(confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth)))
    assert mean == pytest.approx(np.mean(of_nuclei), abs=1e-12)


@pytest.mark.parametrize(
    ("guess", "truth", "message"),
    [
        ([0, 1], [0], r"prediction is \[2\], truth \[1\]: sizes must agree"),
        ([0, 6], [0, 1], "prediction holds 0 to 6; classes are 0 to 5"),
        ([0, 1], [0, 7], "truth holds 0 to 7; classes are 0 to 5"),
        ([-1, 1], [0, 1], "prediction holds -1 to 1"),
        ([255, 1], [0, 1], "prediction holds 1 to 255"),
    ],
)
def test_refuses_with_a_reason(guess, truth, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(guess), torch.tensor(truth))
