import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monch_monai.datasets import write_synthetic
from monch_monai.report.tables import EvaluatedRun
from tests.bundle.conftest import CONFIGS, run_bundle

NAMES = {"unet": "U-Net", "hovernet": "HoVer-Net"}
OWN = {"mean", "std", "learning_rate", "network_def", "weights", "loss", "optimizer", "validate", "feature_maps"}
"""What a baseline has of its own. HoVer-Net's tiles also need their distances."""


def test_a_baseline_is_trained_on_the_same_tiles_as_monch() -> None:
    plain = ConfigParser.load_config_file(CONFIGS / "train.json")["train"]["preprocessing"]["transforms"]
    its_own = ConfigParser.load_config_file(CONFIGS / "baselines" / "hovernet.json")["train#preprocessing#transforms"]
    for transform in plain:
        same = [other for other in its_own if other["_target_"] == transform["_target_"]]
        alike = {"keys", "mode", "reader"}
        assert {k: v for k, v in transform.items() if k not in alike} in [
            {k: v for k, v in other.items() if k not in alike} for other in same
        ]


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_changes_nothing_but_the_network_and_what_it_needs(name: str) -> None:
    changes = ConfigParser.load_config_file(CONFIGS / "baselines" / f"{name}.json")
    assert {key.split("#")[0] for key in changes if not key.startswith("_desc")} - {"train"} <= OWN


@pytest.mark.parametrize(("name", "tile_size"), [("unet", 64), pytest.param("hovernet", 256, marks=pytest.mark.slow)])
def test_a_baseline_trains_by_the_recipe_and_is_evaluated(name: str, tile_size: int, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data", train=2, validation=1, tile_size=tile_size)
    plain, recipe, evaluate = (str(CONFIGS / f) for f in ("train.json", "recipes/consep.json", "evaluate.json"))
    baseline = str(CONFIGS / "baselines" / f"{name}.json")
    settings = ["--dataset_dir", tmp_path / "data", "--output_dir", tmp_path, "--batch_size", 2]
    training = run_bundle(
        "training", "--config_file", str([plain, recipe, baseline]), "--epochs", 1, "--val_interval", 1, *settings
    )
    assert training.returncode == 0, training.stderr
    done = run_bundle("--config_file", str([plain, evaluate, baseline]), "--inference_time#repeats", 2, *settings)
    assert done.returncode == 0, done.stderr
    run = EvaluatedRun.read(tmp_path)
    assert (run.system, run.record["encoder_weights"]) == (NAMES[name], None)
    assert json.loads((tmp_path / "evaluation" / "nuclei.json").read_text(encoding="utf-8"))["images"] == 1
    assert (tmp_path / "evaluation" / "report.html").is_file()
