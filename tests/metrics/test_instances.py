import numpy as np
import pytest

from monch_monai.metrics import Instances, drop_ignored, instances
from monch_monai.metrics.instances import centroids


def test_ids_are_renumbered_without_gaps_and_classes_are_of_most_pixels():
    ids = np.array([[7, 7, 7, 0], [70000, 0, 3, 3]])
    classes = np.array([[2, 2, 5, 0], [255, 0, 4, 1]], np.uint8)
    made = instances(ids, classes, 6)
    assert made.ids.tolist() == [[2, 2, 2, 0], [3, 0, 1, 1]]
    assert made.classes.tolist() == [0, 1, 2, 255]  # id 3 is tied: the lower class


def test_background_pixels_have_no_vote():
    assert instances(np.ones((1, 5)), np.array([[0, 0, 0, 4, 0]], np.uint8), 6).classes.tolist() == [0, 4]


@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_an_image_without_nuclei(shape):
    made = instances(np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), 6)
    assert made.classes.tolist() == [0]
    assert made.ids.shape == shape
    assert centroids(made).shape == (0, 2)


def test_a_map_without_background_keeps_its_ids():
    made = instances(np.full((2, 2), 9), np.full((2, 2), 3, np.uint8), 6)
    assert made.ids.tolist() == [[1, 1], [1, 1]]
    assert made.classes.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("ids", "classes", "problem"),
    [
        ([[1, 0]], [[1]], r"instance map is \[1, 2\], class map \[1, 1\]: sizes must agree"),
        ([[1, 0]], [[6, 0]], "class map holds 6; expected 0 to 5 and 255"),
        ([[-1, 0]], [[1, 0]], "instance map holds -1; ids are 0 and above"),
        ([[5, 0]], [[0, 2]], "nucleus 5 has no pixel of a nucleus class"),
    ],
)
def test_refuses_with_a_reason(ids, classes, problem):
    with pytest.raises(ValueError, match=problem):
        instances(np.array(ids), np.array(classes), 6)


def test_ignored_nuclei_and_predictions_mostly_on_them_are_dropped():
    truth = Instances(np.array([[1, 1, 2, 2, 0, 0]]), np.array([0, 255, 3], np.uint8))
    guess = Instances(np.array([[1, 1, 1, 2, 3, 3]]), np.array([0, 2, 3, 4], np.uint8))
    ignored = np.array([[1, 1, 0, 0, 0, 0]], bool)
    kept_guess, kept_truth = drop_ignored(guess, truth, ignored)
    assert kept_truth.ids.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert kept_truth.classes.tolist() == [0, 3]
    assert kept_guess.ids.tolist() == [[0, 0, 0, 1, 2, 2]]
    assert kept_guess.classes.tolist() == [0, 3, 4]


def test_a_prediction_half_on_ignored_pixels_stays():
    guess = Instances(np.array([[1, 1]]), np.array([0, 2], np.uint8))
    kept, _ = drop_ignored(
        guess, Instances(np.zeros((1, 2), np.int64), np.zeros(1, np.uint8)), np.array([[True, False]])
    )
    assert kept.classes.tolist() == [0, 2]


def test_centroids_are_means_of_pixel_positions():
    nuclei = Instances(np.array([[1, 1, 0], [1, 1, 2]]), np.array([0, 1, 1], np.uint8))
    assert centroids(nuclei).tolist() == [[0.5, 0.5], [2, 1]]


def test_a_prediction_of_a_scored_nucleus_stays_however_much_of_that_is_ignored():
    ids, ignored = np.zeros((10, 10), np.int64), np.zeros((10, 10), bool)
    ids[:, :5], ignored[:8, :5] = 1, True
    truth = Instances(ids, np.array([0, 1], np.uint8))
    kept, _ = drop_ignored(truth, truth, ignored)
    assert kept.ids.any()
