import csv
import json
import logging
import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from monch_monai.handlers import MeanDice, ScoreTable
from monch_monai.handlers.scores import format_rows, write_scores
from monch_monai.metrics import confusion_matrix, mean_dice, score_rows


def maps(seed, count=2):
    """Random class maps `[count, 1, 9, 7]` without class 4."""
    drawn = torch.randint(5, (2, count, 1, 9, 7), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pred, label = torch.where(drawn == 4, 5, drawn)
    return pred, label


BATCHES = [maps(seed) for seed in range(2)]


def evaluate(epochs=1, output_dir=None, batches=BATCHES):
    """An evaluation as MONAI's evaluators run one: decollated output, and details beside the metrics."""

    def step(engine, batch):
        return [{"pred": MetaTensor(pred), "label": MetaTensor(label)} for pred, label in zip(*batch, strict=True)]

    evaluator = Engine(step)
    evaluator.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "metric_details", {}))
    MeanDice().attach(evaluator, "mean_dice")
    ScoreTable(output_dir).attach(evaluator)
    evaluator.run(batches, max_epochs=epochs)
    return evaluator.state


def logged(caplog):
    """The table of the only evaluation."""
    caplog.set_level(logging.INFO)
    evaluate()
    (message,) = [r.getMessage() for r in caplog.records if r.name == "monch_monai.handlers.scores"]
    return message


def all_counts():
    return sum(confusion_matrix(pred, label) for pred, label in BATCHES)


def test_mean_dice_of_two_batches_is_that_of_all_their_pixels():
    state = evaluate()
    assert state.metrics["mean_dice"] == pytest.approx(mean_dice(all_counts()), abs=1e-12)
    of_batches = [mean_dice(confusion_matrix(pred, label)) for pred, label in BATCHES]
    assert state.metrics["mean_dice"] != pytest.approx(sum(of_batches) / 2, abs=1e-6)


def test_counts_are_left_with_the_engine():
    assert torch.equal(evaluate().metric_details["confusion_matrix"], all_counts())


def test_each_epoch_counts_anew():
    assert torch.equal(evaluate(epochs=3).metric_details["confusion_matrix"], all_counts())


def test_mean_dice_is_nan_where_no_class_is_present():
    empty = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert math.isnan(evaluate(batches=[(empty, empty)]).metrics["mean_dice"])


def test_the_table_has_dashes_for_an_absent_class(caplog):
    lines = {line.rsplit(None, 3)[0]: line.split() for line in logged(caplog).splitlines()[2:-1]}
    assert list(lines) == [row.name for row in score_rows(all_counts())]
    assert lines["dead"] == ["dead", "-", "-", "0"]
    neoplastic = score_rows(all_counts())[1]
    assert lines["neoplastic"] == [
        "neoplastic",
        f"{neoplastic.dice:.4f}",
        f"{neoplastic.iou:.4f}",
        str(neoplastic.pixels),
    ]


def test_the_table_names_the_epoch_and_ends_with_the_mean(caplog):
    message = logged(caplog)
    assert message.startswith("scores of epoch 1\nclass")
    assert message.splitlines()[-1].split() == ["mean", "of", "nucleus", "classes", f"{mean_dice(all_counts()):.4f}"]


def test_the_mean_of_nothing_is_a_dash():
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    assert format_rows(score_rows(matrix), mean_dice(matrix)).splitlines()[-1].split()[-1] == "-"


def test_nothing_is_written_unless_told_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate()
    assert list(tmp_path.iterdir()) == []


def test_scores_csv_has_a_row_a_class_and_empty_cells_for_an_absent_one(tmp_path):
    evaluate(output_dir=tmp_path / "made" / "here")
    with (tmp_path / "made" / "here" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, score_rows(all_counts()), strict=True):
        assert row["name"] == expected.name
        assert int(row["pixels"]) == expected.pixels
        if expected.name == "dead":
            assert (row["dice"], row["iou"]) == ("", "")
        else:
            assert (float(row["dice"]), float(row["iou"])) == (expected.dice, expected.iou)


def refuse_constants(text):
    raise ValueError(f"{text} is not JSON")


def test_scores_json_is_json_with_null_for_an_absent_class(tmp_path):
    write_scores(tmp_path, all_counts())
    scores = json.loads((tmp_path / "scores.json").read_text(), parse_constant=refuse_constants)
    assert scores["mean_dice"] == mean_dice(all_counts())
    assert scores["classes"]["dead"] == {"dice": None, "iou": None, "pixels": 0}
    epithelial = score_rows(all_counts())[5]
    assert scores["classes"]["epithelial"] == {
        "dice": epithelial.dice,
        "iou": epithelial.iou,
        "pixels": epithelial.pixels,
    }
    assert scores["confusion_matrix"] == all_counts().tolist()


def test_scores_of_an_empty_set_are_json_too(tmp_path):
    write_scores(tmp_path, torch.zeros(6, 6, dtype=torch.int64))
    scores = json.loads((tmp_path / "scores.json").read_text(), parse_constant=refuse_constants)
    assert scores["mean_dice"] is None
