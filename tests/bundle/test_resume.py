"""A training that is killed goes on as if nothing had happened."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch

from monch_monai.data import Fold, Tile, write_tiles
from monch_monai.datasets import write_synthetic
from monch_monai.datasets.synthetic import synthetic_tile
from tests.bundle.conftest import CONFIGS, REPOSITORY, run_bundle

EPOCHS = 4


def arguments(dataset: Path, output_dir: Path) -> list[str]:
    given = {
        "config_file": CONFIGS / "train.json", "dataset_dir": dataset, "output_dir": output_dir, "epochs": EPOCHS,
        "batch_size": 2, "encoder_weights": "none", "amp": "false",
    }  # fmt: skip
    return ["training", *[str(x) for name, value in given.items() for x in (f"--{name}", value)]]


def epochs_done(output_dir: Path) -> int:
    try:
        with (output_dir / "history.csv").open(encoding="utf-8") as file:
            return len(list(csv.DictReader(file)))
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_killed_in_its_third_epoch_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data", train=8, validation=2, tile_size=64)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_bundle(*arguments(tmp_path / "data", whole)).returncode == 0

    command = [sys.executable, "-m", "monai.bundle", "run", *arguments(tmp_path / "data", broken)]
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, "--device", "cpu"], cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
        )
        while epochs_done(broken) < 2 and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.5)  # into the third epoch
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert epochs_done(broken) == 2
    resumed = run_bundle(*arguments(tmp_path / "data", broken), "--resume", "true")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch 2" in resumed.stdout

    for name in ("last.pt", "best.pt"):
        expected, found = (torch.load(folder / name, weights_only=True) for folder in (whole, broken))
        assert list(expected) == list(found)
        worst = max(float((expected[n].double() - found[n].double()).abs().max()) for n in expected)
        assert worst <= 1e-6, f"{name} differs by {worst}"
    histories = []
    for folder in (whole, broken):
        with (folder / "history.csv").open(encoding="utf-8") as file:
            histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)])
    assert histories[0] == histories[1]
    assert [row["epoch"] for row in histories[1]] == ["1", "2", "3", "4"]
    assert (broken / "log.txt").read_text(encoding="utf-8").count("scores of epoch") == EPOCHS


def test_a_training_without_a_nucleus_to_validate_on_keeps_its_last_weights_as_the_best_and_resumes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "monch_monai")

    def tiles(start: int, empty: bool) -> list[Tile]:
        made = [synthetic_tile(np.random.default_rng(i), 64, 6) for i in range(4)]
        blank = np.zeros((64, 64), np.uint8)
        return [t._replace(classes=blank, instances=blank.astype(np.uint16)) if empty else t for t in made[start:]]

    folds = {name: Fold(4, partial(tiles, empty=name == "empty"), 64) for name in ("full", "empty")}
    write_tiles(tmp_path / "data", folds, {"1": {"train": ["full"], "validation": ["empty"]}})
    settings = {
        "dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "out"), "device": "cpu", "batch_size": 2,
        "patience": 2,
    }  # fmt: skip
    small = {"network_def": {"_target_": "tests.fakes.network.frozen_monch"}, "weights": None}
    (tmp_path / "small.json").write_text(json.dumps(small), encoding="utf-8")
    config = [str(CONFIGS / "train.json"), str(tmp_path / "small.json")]
    for epochs, resume in ((1, False), (2, True), (9, True)):
        monai.bundle.run("training", config_file=config, logging_file=False, epochs=epochs, resume=resume, **settings)
        best, last = (torch.load(tmp_path / "out" / name, weights_only=True) for name in ("best.pt", "last.pt"))
        assert all(torch.equal(best[name], last[name]) for name in best)
    with (tmp_path / "out" / "history.csv").open(encoding="utf-8") as file:
        assert [(row["epoch"], row["mean_dice"]) for row in csv.DictReader(file)] == [("1", ""), ("2", ""), ("3", "")]
    assert caplog.text.count("no nucleus in the validation part") == 1
    assert caplog.text.count("stopped early: no better validation for 2 epochs") == 1
