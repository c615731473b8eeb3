import numpy as np
import pytest

from monch_monai.label.uncertainty import mean_uncertainty, nucleus_uncertainty


def test_closed_form():
    probs = [[1, 0, 0, 0, 0], [0.2, 0.2, 0.2, 0.2, 0.2], [0.9, 0.9, 0, 0, 0], [0, 0, 0, 0, 0]]
    expected = [0, 1, np.log(2) / np.log(5), 1]
    assert nucleus_uncertainty(np.array(probs)).tolist() == pytest.approx(expected)
    assert mean_uncertainty(np.array(probs)) == pytest.approx(np.mean(expected))


def test_no_nuclei():
    assert mean_uncertainty(np.zeros((0, 5))) == 0


def test_less_sure_is_more():
    rng = np.random.default_rng(0)
    sure = rng.uniform(size=(50, 5)) * [1, 0.05, 0.05, 0.05, 0.05]
    unsure = rng.uniform(0.4, 0.6, size=(50, 5))
    assert mean_uncertainty(sure) < mean_uncertainty(unsure)


def test_of_few_classes():
    assert nucleus_uncertainty(np.array([[0.3, 0.3], [0.8, 0], [0, 0]])).tolist() == pytest.approx([1, 0, 1])
    assert nucleus_uncertainty(np.array([[0.3], [1], [0]])).tolist() == [0, 0, 0]
