import csv
import json
import math

import numpy as np
import pytest

from monch_monai.handlers.score_files import write_scores
from monch_monai.metrics import ImageCounts, mean_dice, over_organs, paper_scores, pixel_scores, score_rows, summary
from tests.fakes.labels import PLAIN


def some_counts(images=12, seed=0):
    """Random counts of three tissues; the truth has no pixel of class 4, and class 2 is never predicted."""
    matrices = np.random.default_rng(seed).integers(0, 90, (images, 6, 6))
    matrices[:, 4] = 0
    matrices[:, :, 2] = 0
    tissues = [("Skin", "Breast", "Lung")[i % 3] for i in range(images)]
    return ImageCounts(
        [f"t.npy#{i}" for i in range(images)],
        tissues,
        [f"case {i}" for i in range(images)],
        ["d"] * images,
        matrices,
        PLAIN,
    )


COUNTS = some_counts()
POOLED = COUNTS.matrices.sum(axis=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("scores") / "made" / "here"
    write_scores(made, COUNTS)
    return made


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def refuse_constants(text):
    raise ValueError(f"{text} is not JSON")


def read_json(folder):
    return json.loads((folder / "scores.json").read_text(), parse_constant=refuse_constants)


def number(cell):
    return math.nan if cell == "" else float(cell)


def test_the_table_of_classes_has_scores_between_the_ends_of_their_intervals(folder):
    for row, expected in zip(rows(folder / "scores.csv"), score_rows(POOLED, PLAIN), strict=True):
        assert row["name"] == expected.name
        assert (int(row["pixels"]), int(row["predicted"])) == (expected.pixels, expected.predicted)
        for name in ("dice", "iou", "precision", "recall"):
            assert number(row[name]) == pytest.approx(getattr(expected, name), nan_ok=True, abs=0)
            if row[name]:
                assert number(row[f"{name}_low"]) <= number(row[name]) <= number(row[f"{name}_high"])


def test_what_is_not_defined_is_an_empty_cell(folder):
    by_name = {row["name"]: row for row in rows(folder / "scores.csv")}
    dead, inflammatory = by_name["dead"], by_name["inflammatory"]
    assert [dead[k] for k in ("dice", "iou_low", "precision", "recall_high", "pixels")] == ["", "", "", "", "0"]
    assert (inflammatory["dice"], inflammatory["precision"]) == ("0.0", "")


def test_the_table_of_organs_has_every_mean_and_all_images_at_its_end(folder):
    table = rows(folder / "scores_by_organ.csv")
    assert [(row["organ"], row["images"]) for row in table] == [
        ("Breast", "4"), ("Lung", "4"), ("Skin", "4"), ("all images", "12"),
    ]  # fmt: skip
    for name, value in summary(POOLED, PLAIN).items():
        assert float(table[-1][name]) == value
        assert float(table[-1][f"{name}_low"]) <= value <= float(table[-1][f"{name}_high"])
    lung = COUNTS.matrices[2::3].sum(axis=0)
    assert float(table[1]["fw_iou"]) == summary(lung, PLAIN)["fw_iou"]


def test_every_organ_has_its_classes(folder):
    table = rows(folder / "scores_by_organ_and_class.csv")
    assert len(table) == 3 * 7
    (row,) = [row for row in table if (row["organ"], row["name"]) == ("Skin", "connective")]
    assert float(row["iou"]) == pixel_scores(COUNTS.matrices[0::3].sum(axis=0), PLAIN).iou[3]


def test_the_counts_of_every_image_can_be_read_back(folder):
    table = rows(folder / "counts.csv")
    assert [(row["image"], row["tissue"], row["source"]) for row in table] == list(zip(*COUNTS[:3], strict=True))
    cells = np.array([[int(v) for k, v in row.items() if ">" in k] for row in table])
    assert np.array_equal(cells.reshape(-1, 6, 6), COUNTS.matrices)
    assert int(table[5]["dead>neoplastic"]) == COUNTS.matrices[5, 4, 1]


def test_json_names_the_papers_average_and_the_plain_mean_over_organs(folder):
    scores = read_json(folder)
    assert scores["paper_average"] == {name: float(v) for name, v in paper_scores(POOLED, PLAIN)._asdict().items()}
    organs = [summary(COUNTS.matrices[i::3].sum(axis=0), PLAIN)["mean_iou_with_background"] for i in range(3)]
    assert list(scores["over_organs"]["mean_iou_with_background"].values()) == pytest.approx(list(over_organs(organs)))
    assert scores["mean_dice"] == mean_dice(POOLED, PLAIN)
    assert scores["confusion_matrix"] == POOLED.tolist()
    assert scores["intervals"]["level"] == 0.95
    assert scores["images"] == 12


def test_json_has_null_for_what_is_not_defined(folder):
    dead = read_json(folder)["classes"]["dead"]
    assert dead["dice"] is None
    assert dead["iou_low"] is None
    assert dead["pixels"] == 0


def test_scores_of_one_image_without_nuclei_are_json_too(tmp_path):
    matrix = np.zeros((1, 6, 6), dtype=np.int64)
    matrix[0, 0, 0] = 16
    write_scores(tmp_path, ImageCounts(["a"], [""], [""], [""], matrix, PLAIN))
    scores = read_json(tmp_path)
    assert scores["mean_dice"] is None
    assert scores["classes"]["background"]["iou"] == 1
    assert scores["classes"]["neoplastic"]["iou"] is None


def test_the_same_counts_give_the_same_files(folder, tmp_path):
    write_scores(tmp_path, COUNTS)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
