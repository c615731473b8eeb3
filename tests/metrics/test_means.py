import math

import numpy as np
import pytest

from monch_monai.metrics import by_tissue, over_organs, paper_scores, pixel_scores, summary

# Two of three classes are in the truth; the third is predicted. TP: 6 and 2.
MATRIX = np.array([[6, 1, 1], [2, 2, 0], [0, 0, 0]])


def test_means_over_the_classes_of_the_truth_with_and_without_background():
    named = summary(MATRIX)
    precision, recall, iou = (6 / 8, 2 / 3), (6 / 8, 2 / 4), (6 / 10, 2 / 5)
    assert named["mean_precision_with_background"] == pytest.approx(sum(precision) / 2, abs=1e-15)
    assert named["mean_recall_with_background"] == pytest.approx(sum(recall) / 2, abs=1e-15)
    assert named["mean_iou_with_background"] == pytest.approx(sum(iou) / 2, abs=1e-15)
    assert named["mean_iou_of_nuclei"] == pytest.approx(iou[1], abs=1e-15)
    assert named["mean_f1_of_nuclei"] == pytest.approx(4 / 7, abs=1e-15)
    assert named["mean_f1_with_background"] == pytest.approx((12 / 16 + 4 / 7) / 2, abs=1e-15)
    p, r = sum(precision) / 2, sum(recall) / 2
    assert named["f1_of_means_with_background"] == pytest.approx(2 * p * r / (p + r), abs=1e-15)


def test_the_two_f1_are_two_numbers():
    named = summary(MATRIX)
    assert abs(named["f1_of_means_with_background"] - named["mean_f1_with_background"]) > 1e-3


def test_a_class_never_predicted_has_precision_zero_in_the_mean():
    named = summary([[4, 0], [2, 0]])
    assert named["mean_precision_with_background"] == pytest.approx((4 / 6 + 0) / 2, abs=1e-15)
    assert named["f1_of_means_of_nuclei"] == 0
    assert math.isnan(pixel_scores([[4, 0], [2, 0]]).precision[1])


def test_an_image_without_nuclei_has_means_with_background_only():
    named = summary([[4, 1], [0, 0]])
    assert named["mean_iou_with_background"] == 0.8
    of_nuclei = [value for name, value in named.items() if name.endswith("of_nuclei")]
    assert len(of_nuclei) == 5
    assert all(math.isnan(value) for value in of_nuclei)


def test_nothing_counted_has_no_score():
    assert all(math.isnan(value) for value in summary(np.zeros((6, 6))).values())


def test_paper_scores_are_of_all_classes_with_the_f1_of_means():
    named = summary(MATRIX)
    expected = [named[name] for name in ("mean_iou_with_background", "fw_iou", "f1_of_means_with_background")]
    assert list(paper_scores(MATRIX)) == expected


def test_paper_scores_of_a_matrix_without_gaps_are_plain_macros():
    counts = np.diag([90, 8, 2, 4, 1, 2]) + 1
    paper, scores = paper_scores(counts), pixel_scores(counts)
    p, r = scores.precision.mean(), scores.recall.mean()
    assert paper.iou == pytest.approx(scores.iou.mean(), abs=1e-15)
    assert paper.f1 == pytest.approx(2 * p * r / (p + r), abs=1e-15)


def test_many_matrices_at_once_are_summed_up_as_one_by_one():
    matrices = np.random.default_rng(0).integers(0, 50, (4, 6, 6))
    matrices[1, 2] = 0
    matrices[2, :, 3] = 0
    together = summary(matrices)
    for i, matrix in enumerate(matrices):
        alone = summary(matrix)
        assert [float(v[i]) for v in together.values()] == pytest.approx([float(v) for v in alone.values()], abs=1e-15)


def test_matrices_are_grouped_by_tissue_in_order_of_names():
    matrices = np.arange(4)[:, None, None] * np.ones((1, 2, 2), dtype=np.int64)
    grouped = by_tissue(matrices, ["Skin", "Breast", "Skin", "Lung"])
    assert list(grouped) == ["Breast", "Lung", "Skin"]
    assert grouped["Skin"][:, 0, 0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="counts of 4 images with 2 tissues: give one tissue an image"):
        by_tissue(matrices, ["Skin", "Breast"])


def test_mean_and_spread_over_organs_leave_out_what_is_not_defined():
    assert over_organs([0.2, math.nan, 0.6]) == pytest.approx((0.4, 0.2, 0.04, 2), abs=1e-15)
    assert over_organs([math.nan]).organs == 0
    assert math.isnan(over_organs([]).mean)


def test_the_papers_std_is_the_variance_of_its_organ_rows():
    # IoU of MONCH in the 19 rows of Table 2, which prints .0032 as STD
    rows = [
        .5104, .6164, .5362, .5305, .5382, .5961, .5313, .5472, .6170, .5330, .4591, .6413, .6390, .5811, .5895, .5461,
        .6622, .5088, .4610,
    ]  # fmt: skip
    spread = over_organs(rows)
    assert round(spread.variance, 4) == 0.0032
    assert round(spread.mean, 4) == 0.5602
