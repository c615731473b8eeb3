import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events, State
from torch import nn

from monch_monai.errors import InputError
from monch_monai.handlers import Checkpoints
from monch_monai.metrics import ImageCounts


class ScriptedRun:
    """A training whose weight equals its epoch and whose validations score as told."""

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
        evaluator = SimpleNamespace(state=validated)
        self.trainer = Engine(lambda engine, batch: {"loss": torch.tensor(float(batch))})
        self.trainer.state.device = torch.device("cpu")

        @self.trainer.on(Events.EPOCH_COMPLETED)
        def validate(engine):
            epoch = engine.state.epoch
            with torch.no_grad():
                self.network.weight.fill_(epoch)
            validated.epoch, validated.metrics = epoch, {"mean_dice": scores[epoch - 1]}
            validated.metric_details = {"image_counts": ImageCounts([""], [""], [""], np.eye(6, dtype=np.int64)[None])}
            if scores[epoch - 1] > validated.best_metric:
                validated.best_metric, validated.best_metric_epoch = scores[epoch - 1], epoch

        Checkpoints(folder, self.network, optimizer, scheduler, evaluator, **settings).attach(self.trainer)

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
    with pytest.raises(InputError, match=f"is of another recipe .{words}.: give the overlays"):
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


def test_the_state_of_another_network_is_refused(tmp_path):
    ScriptedRun(tmp_path, [0.2]).run(1)
    other = ScriptedRun(tmp_path, [0.2, 0.3], resume=True)
    other.network.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match="cannot be resumed from with this config"):
        other.run(2)
