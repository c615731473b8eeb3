import pytest
import torch

from monch_monai.metrics import confusion_matrix
from tests.fakes.class_maps import random_maps
from tests.fakes.labels import PLAIN


def test_matrix_has_the_truth_in_rows():
    matrix = confusion_matrix(torch.tensor([1, 1, 2, 0]), torch.tensor([1, 2, 2, 2]), PLAIN)[:3, :3]
    assert matrix.tolist() == [[0, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert matrix.dtype == torch.int64


def test_prediction_under_ignored_pixels_may_be_anything():
    guess, truth = torch.tensor([255, 1]), torch.tensor([255, 1])
    assert int(confusion_matrix(guess, truth, PLAIN).sum()) == 1


def test_counts_of_two_images_add_up():
    guess, truth = (torch.from_numpy(m) for m in random_maps(1))
    apart = sum(confusion_matrix(g, t, PLAIN) for g, t in zip(guess, truth, strict=True))
    assert torch.equal(confusion_matrix(guess, truth, PLAIN), apart)


@pytest.mark.parametrize(
    ("guess", "truth", "message"),
    [
        ([0, 1], [0], r"prediction is \[2\], truth \[1\]: sizes must agree"),
        ([0, 6], [0, 1], "prediction holds 0 to 6; expected 0 to 5"),
        ([0, 1], [0, 7], "truth holds 0 to 7; expected 0 to 5"),
        ([-1, 1], [0, 1], "prediction holds -1 to 1"),
        ([255, 1], [0, 1], "prediction holds 1 to 255"),
    ],
)
def test_refuses_with_a_reason(guess, truth, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(guess), torch.tensor(truth), PLAIN)
