import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events, State
from torch import nn

from monch_monai.errors import InputError
from monch_monai.handlers import Checkpoints
from monch_monai.metrics import ImageCounts
from tests.fakes.labels import PLAIN

NAN = math.nan


class ScriptedRun:
    """A training whose weight equals its epoch and whose validations score as told; None is an absent key metric."""

    def __init__(self, folder, scores, schedule="ConstantLR", **settings):
        self.network = nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        if schedule == "StepLR":
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=1.0)
        else:
            scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        validated = State(
            epoch=0, key_metric_name="mean_dice", metrics={}, metric_details={}, best_metric=-1, best_metric_epoch=-1
        )
        self.evaluator = SimpleNamespace(state=validated)
        self.trainer = Engine(lambda engine, batch: {"loss": torch.tensor(float(batch))})
        self.trainer.state.device = torch.device("cpu")

        @self.trainer.on(Events.EPOCH_COMPLETED)
        def validate(engine):
            epoch = engine.state.epoch
            with torch.no_grad():
                self.network.weight.fill_(epoch)
            if epoch % settings.get("val_interval", 1):
                return
            score = scores[epoch - 1]
            validated.epoch, validated.metrics = epoch, {} if score is None else {"mean_dice": score}
            counts = ImageCounts([""], [""], [""], [""], np.eye(6, dtype=np.int64)[None], PLAIN)
            validated.metric_details = {} if score is None else {"image_counts": counts}
            # As MONAI's evaluator does: the first is the best, even where it is NaN.
            if score is not None and (validated.best_metric_epoch == -1 or score > validated.best_metric):
                validated.best_metric, validated.best_metric_epoch = score, epoch

        Checkpoints(folder, self.network, optimizer, scheduler, self.evaluator, **settings).attach(self.trainer)

    def run(self, epochs):
        self.trainer.run([1, 3], max_epochs=epochs)
        return self


def weight(path):
    return float(torch.load(path, weights_only=True)["weight"])


def rows(folder):
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_best_and_last_are_of_their_epochs(tmp_path):
    ScriptedRun(tmp_path, [0.2, 0.6, 0.4]).run(3)
    assert (weight(tmp_path / "best.pt"), weight(tmp_path / "last.pt")) == (2, 3)
    assert [(r["epoch"], r["mean_dice"], r["loss"]) for r in rows(tmp_path)] == [
        ("1", "0.2", "2.0"), ("2", "0.6", "2.0"), ("3", "0.4", "2.0"),
    ]  # fmt: skip


def test_a_moving_average_is_kept_in_place_of_the_network_and_goes_on_with_it(tmp_path):
    average, resumed_average = (nn.Linear(1, 1, bias=False) for _ in range(2))
    nn.init.constant_(average.weight, 0.5)
    ScriptedRun(tmp_path, [0.2, 0.6], average=average).run(2)
    assert (weight(tmp_path / "best.pt"), weight(tmp_path / "last.pt")) == (0.5, 0.5)
    resumed = ScriptedRun(tmp_path, [0.2, 0.6, 0.5], average=resumed_average, resume=True).run(3)
    assert (float(resumed_average.weight), float(resumed.network.weight)) == (0.5, 3)


@pytest.mark.parametrize(
    ("began", "goes_on", "words"),
    [
        ({"average": nn.Linear(1, 1, bias=False)}, {}, "a moving average: True and False"),
        ({}, {"average": nn.Linear(1, 1, bias=False)}, "a moving average: False and True"),
        ({}, {"schedule": "StepLR"}, "a schedule: ConstantLR and StepLR"),
    ],
)
def test_another_recipe_does_not_go_on(tmp_path, began, goes_on, words):
    ScriptedRun(tmp_path, [0.2], **began).run(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=f"is of another recipe .{words}.: use the overlays"):
        ScriptedRun(tmp_path, [0.2, 0.3], resume=True, **goes_on).run(2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_after_resuming_a_worse_epoch_does_not_become_the_best(tmp_path):
    ScriptedRun(tmp_path, [0.2, 0.6]).run(2)
    resumed = ScriptedRun(tmp_path, [0.2, 0.6, 0.5, 0.3], resume=True).run(4)
    assert resumed.trainer.state.iteration == 8
    assert (weight(tmp_path / "best.pt"), weight(tmp_path / "last.pt")) == (2, 4)
    assert [r["epoch"] for r in rows(tmp_path)] == ["1", "2", "3", "4"]


def test_resuming_a_finished_training_changes_nothing(tmp_path):
    ScriptedRun(tmp_path, [0.2, 0.6]).run(2)
    before = (tmp_path / "last.pt").read_bytes()
    ScriptedRun(tmp_path, [0.2, 0.6], resume=True).run(2)
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize(("patience", "last"), [(0, 6), (2, 4), (3, 5)])
def test_stops_after_as_many_epochs_without_a_better_one(tmp_path, patience, last):
    ScriptedRun(tmp_path, [0.2, 0.6, 0.5, 0.5, 0.4, 0.3], patience=patience).run(6)
    assert weight(tmp_path / "last.pt") == last


@pytest.mark.parametrize(("patience", "last"), [(0, 9), (1, 4), (2, 4), (3, 6), (4, 6), (5, 8)])
def test_patience_counts_epochs_and_ends_at_a_validation(tmp_path, patience, last):
    scores = [None, 0.6, None, 0.5, None, 0.5, None, 0.5, None]
    ScriptedRun(tmp_path, scores, patience=patience, val_interval=2).run(9)
    assert weight(tmp_path / "last.pt") == last


@pytest.mark.parametrize("interrupted", [1, 2, 3, 4])
def test_patience_goes_on_where_it_was(tmp_path, interrupted):
    scores = [0.2, 0.6, 0.5, NAN, 0.4, 0.3, 0.3]
    ScriptedRun(tmp_path, scores, patience=3).run(interrupted)
    ScriptedRun(tmp_path, scores, patience=3, resume=True).run(7)
    assert weight(tmp_path / "last.pt") == 5
    ScriptedRun(tmp_path, scores, patience=3, resume=True).run(7)
    assert weight(tmp_path / "last.pt") == 5
    ScriptedRun(tmp_path, scores, patience=4, resume=True).run(7)
    assert weight(tmp_path / "last.pt") == 6


@pytest.mark.parametrize("absent", [NAN, None])
def test_without_a_score_the_last_epoch_is_the_best_which_is_said_once(tmp_path, caplog, absent):
    ScriptedRun(tmp_path, [absent] * 3).run(2)
    ScriptedRun(tmp_path, [absent] * 3, resume=True).run(3)
    assert (weight(tmp_path / "best.pt"), weight(tmp_path / "last.pt")) == (3, 3)
    assert [row["mean_dice"] for row in rows(tmp_path)] == ["", "", ""]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "epoch 1 has no mean_dice: no nucleus in the validation part; until one has, best.pt is of the last epoch"
    ]


def test_a_score_after_epochs_without_is_the_best_and_nan_after_it_is_ignored(tmp_path, caplog):
    run = ScriptedRun(tmp_path, [NAN, 0.3, NAN, 0.2]).run(4)
    assert (weight(tmp_path / "best.pt"), weight(tmp_path / "last.pt")) == (2, 4)
    assert (run.evaluator.state.best_metric, run.evaluator.state.best_metric_epoch) == (0.3, 2)
    assert caplog.text.count("has no mean_dice") == 1


def test_resumed_after_nan_a_score_becomes_the_best(tmp_path):
    ScriptedRun(tmp_path, [NAN]).run(1)
    ScriptedRun(tmp_path, [NAN, 0.1, 0.3, 0.2], resume=True).run(4)
    assert weight(tmp_path / "best.pt") == 3


@pytest.mark.parametrize(
    ("scores", "last"), [([NAN] * 6, 3), ([0.2, NAN, NAN, 0.9], 3), ([NAN, NAN, 0.1, NAN, NAN], 5)]
)
def test_nan_is_no_better_validation(tmp_path, scores, last):
    ScriptedRun(tmp_path, scores, patience=2).run(len(scores))
    assert weight(tmp_path / "last.pt") == last


def test_before_the_first_validation_the_best_is_the_last(tmp_path):
    ScriptedRun(tmp_path, [None, 0.5, None], val_interval=2).run(1)
    assert weight(tmp_path / "best.pt") == 1


def test_the_state_of_another_network_is_refused(tmp_path):
    ScriptedRun(tmp_path, [0.2]).run(1)
    other = ScriptedRun(tmp_path, [0.2, 0.3], resume=True)
    other.network.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match="cannot be resumed from with this config"):
        other.run(2)
