import math
import time

import numpy as np
import pytest

from monch_monai.metrics import draws, interval, pixel_scores, resample, summary


def matrices(images=40, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (images, 6, 6))


def test_every_resample_draws_as_many_images_as_there_are():
    drawn = draws(7, resamples=50)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()


def test_draws_depend_on_the_seed_alone():
    assert np.array_equal(draws(9, 20, seed=3), draws(9, 20, seed=3))
    assert not np.array_equal(draws(9, 20, seed=3), draws(9, 20, seed=4))


def test_resampled_sums_agree_with_a_loop_exactly():
    counts = matrices(8)
    sums = resample(counts, 30, seed=5)
    for row, drawn in zip(sums, draws(8, 30, seed=5), strict=True):
        assert np.array_equal(row, sum(int(n) * counts[i] for i, n in enumerate(drawn)))


def test_one_image_has_an_interval_of_no_width():
    low, high, defined = interval(pixel_scores(resample(matrices(1), 20)).iou)
    assert low == pytest.approx(high, abs=1e-15)
    assert (defined == 1).all()


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(size=400)
    drawn = draws(400, 4000, seed=2)
    low, high, _ = interval(drawn @ values / 400)
    spread = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - spread, abs=0.01)
    assert high == pytest.approx(values.mean() + spread, abs=0.01)


def test_the_share_of_normal_samples_whose_interval_holds_the_truth_is_near_its_level():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(600):
        values = rng.normal(size=200)
        low, high, _ = interval(draws(200, 400, seed=trial) @ values / 200)
        held += low <= 0 <= high
    assert 0.92 <= held / 600 <= 0.97


def test_resamples_without_a_rare_class_are_left_out_and_told():
    counts = np.zeros((10, 2, 2))
    counts[:, 0, 0] = 5
    counts[0, 1, 1] = 3  # the only image with the class
    low, high, defined = interval(pixel_scores(resample(counts, 2000)).iou)
    assert (low[1], high[1]) == (1, 1)
    assert defined[1] == pytest.approx(1 - 0.9**10, abs=0.05)
    assert defined[0] == 1


def test_what_is_never_defined_has_no_interval():
    low, high, defined = interval(np.full((20, 3), np.nan))
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    assert (defined == 0).all()


def test_no_image_cannot_be_resampled():
    with pytest.raises(ValueError, match="0 images: at least one is needed"):
        resample(np.zeros((0, 6, 6)))


def test_three_thousand_images_take_seconds():
    start = time.process_time()
    sums = resample(matrices(3000))
    interval(pixel_scores(sums).iou)
    for values in summary(sums).values():
        interval(values)
    assert time.process_time() - start < 10
