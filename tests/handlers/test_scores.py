import logging
import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from monch_monai.errors import InputError
from monch_monai.handlers import MeanDice, ScoreTable
from monch_monai.handlers.scores import format_rows
from monch_monai.metrics import confusion_matrix, mean_dice, score_rows
from tests.fakes.labels import PLAIN


def maps(seed, count=2):
    """Random class maps `[count, 1, 9, 7]` without class 4."""
    drawn = torch.randint(5, (2, count, 1, 9, 7), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pred, label = torch.where(drawn == 4, 5, drawn)
    return pred, label


BATCHES = [maps(seed) for seed in range(2)]


def evaluate(epochs=1, output_dir=None, batches=BATCHES, first=0):
    """An evaluation as MONAI's evaluators run one: decollated output, and details beside the metrics."""
    names = (f"images.npy#{i}" for _ in range(epochs) for i in range(first, first + sum(len(b[0]) for b in batches)))

    def step(engine, batch):
        items = [
            {"image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": next(names)}), "pred": pred, "label": label}
            for pred, label in zip(*batch, strict=True)
        ]
        engine.state.batch = [{**item, "tissue": "Breast", "source": "here"} for item in items]
        return items

    evaluator = Engine(step)
    evaluator.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "metric_details", {}))
    MeanDice(PLAIN).attach(evaluator, "mean_dice")
    ScoreTable(output_dir).attach(evaluator)
    evaluator.run(batches, max_epochs=epochs)
    return evaluator.state


def counted(state):
    return state.metric_details["image_counts"].matrix


def logged(caplog):
    """The table of the only evaluation."""
    caplog.set_level(logging.INFO)
    evaluate()
    (message,) = [r.getMessage() for r in caplog.records if r.name == "monch_monai.handlers.scores"]
    return message


def all_counts():
    return sum(confusion_matrix(pred, label, PLAIN) for pred, label in BATCHES)


def test_mean_dice_of_two_batches_is_that_of_all_their_pixels():
    state = evaluate()
    assert state.metrics["mean_dice"] == pytest.approx(mean_dice(all_counts(), PLAIN), abs=1e-12)
    of_batches = [mean_dice(confusion_matrix(pred, label, PLAIN), PLAIN) for pred, label in BATCHES]
    assert state.metrics["mean_dice"] != pytest.approx(sum(of_batches) / 2, abs=1e-6)


def test_counts_are_left_with_the_engine():
    assert counted(evaluate()).tolist() == all_counts().tolist()


def test_each_epoch_counts_anew():
    assert counted(evaluate(epochs=3)).tolist() == all_counts().tolist()


def test_mean_dice_is_nan_where_no_class_is_present():
    empty = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert math.isnan(evaluate(batches=[(empty, empty)]).metrics["mean_dice"])


def test_the_table_has_dashes_for_an_absent_class(caplog):
    lines = {line.rsplit(None, 5)[0]: line.split() for line in logged(caplog).splitlines()[2:-1]}
    assert list(lines) == [row.name for row in score_rows(all_counts(), PLAIN)]
    assert lines["dead"] == ["dead", "-", "-", "-", "-", "0"]
    neoplastic = score_rows(all_counts(), PLAIN)[1]
    assert lines["neoplastic"] == [
        "neoplastic",
        f"{neoplastic.dice:.4f}",
        f"{neoplastic.iou:.4f}",
        f"{neoplastic.precision:.4f}",
        f"{neoplastic.recall:.4f}",
        str(neoplastic.pixels),
    ]


def test_the_table_names_the_epoch_and_ends_with_the_mean(caplog):
    message = logged(caplog)
    assert message.startswith("scores of epoch 1\nclass")
    assert message.splitlines()[-1].split() == [
        "mean",
        "of",
        "nucleus",
        "classes",
        f"{mean_dice(all_counts(), PLAIN):.4f}",
    ]


def test_the_mean_of_nothing_is_a_dash():
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    assert format_rows(score_rows(matrix, PLAIN), mean_dice(matrix, PLAIN)).splitlines()[-1].split()[-1] == "-"


def test_nothing_is_written_unless_told_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate()
    assert list(tmp_path.iterdir()) == []


def test_counts_are_kept_by_image_with_tissue_and_source():
    counts = evaluate().metric_details["image_counts"]
    assert counts.images == [f"images.npy#{i}" for i in range(4)]
    assert set(counts.tissues) == {"Breast"}
    assert set(counts.sources) == {"here"}
    assert counts.matrices[2].tolist() == confusion_matrix(BATCHES[1][0][0], BATCHES[1][1][0], PLAIN).tolist()


def test_an_image_seen_twice_counts_once():
    once, twice = MeanDice(PLAIN), MeanDice(PLAIN)
    items = [
        {"image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": str(i)}), "pred": pred, "label": label}
        for i, (pred, label) in enumerate(zip(*BATCHES[0], strict=True))
    ]
    once.update(items)
    twice.update([*items, items[0]])
    assert twice.compute() == once.compute()
    assert set(once.counts().tissues) == {"unknown"}
    assert twice.counts().matrices.tolist() == once.counts().matrices.tolist()


@pytest.mark.parametrize(
    ("pred", "label", "problem"),
    [
        (torch.zeros(1, 4, 5), torch.zeros(1, 4, 4), r"prediction is \[1, 4, 5\], truth \[1, 4, 4\]"),
        (torch.zeros(1, 4, 4), torch.full((1, 4, 4), 9), "truth holds 9 to 9; expected 0 to 5"),
    ],
    ids=["another size", "unknown class"],
)
def test_what_cannot_be_counted_is_refused_in_one_line_that_names_the_tile(pred, label, problem):
    with pytest.raises(InputError, match=rf"^images\.npy#7: {problem}.*; check the tile's label") as caught:
        evaluate(batches=[(pred[None].byte(), label[None].byte())], first=7)
    assert "\n" not in str(caught.value)
