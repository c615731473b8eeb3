import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data.utils import set_rnd
from torch import nn

from monch_monai.datasets import write_synthetic
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import initialise_weights
from monch_monai.report import EvaluatedRun
from tests.bundle.conftest import CONFIGS, fork_bundle, run_bundle

NAMES = {"unet": "U-Net", "hovernet": "HoVer-Net"}
OWN = {
    "mean", "std", "learning_rate", "normalisation", "network_def", "loss", "optimizer#params", "feature_maps",
    "word_maps",
}  # fmt: skip
TILES = {"spatial_keys", "spatial_modes", "load_label", "+train#preprocessing#transforms", "validate#postprocessing"}
"""What a baseline has of its own or cannot have, and HoVer-Net besides: tiles with distances, its own nuclei."""


def test_hovernet_is_trained_on_the_same_tiles_as_monch_with_their_nuclei(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data", train=1, validation=1, tile_size=64)

    def tile(*overlays: str) -> dict:
        parser = ConfigParser()
        parser.read_config([CONFIGS / "train.json", *(CONFIGS / name for name in overlays)])
        parser.update({"dataset_dir": str(tmp_path / "data"), "device": "cpu", "augmentation": 1.0})
        dataset = parser.get_parsed_content("train#dataset")
        set_rnd(dataset, 1)
        return dataset[0]

    plain, its_own = tile(), tile("baselines/hovernet.json")
    assert torch.allclose(its_own["image"], plain["image"])
    assert torch.equal(its_own["label"][:1], plain["label"])
    assert its_own["label"].shape == (3, 64, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_changes_nothing_but_the_network_and_what_it_needs(name: str) -> None:
    changes = ConfigParser.load_config_file(CONFIGS / "baselines" / f"{name}.json")
    assert {key for key in changes if key != "_desc_"} <= (OWN | TILES if name == "hovernet" else OWN)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("encoder_weights", "published"),
        ("freeze", True),
        ("lora_rank", 4),
        ("prompts", "names"),
        ("normalisation", "instance"),
    ],
)
def test_settings_of_monch_are_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{setting} is a setting of MONCH, which Linear does not have"):
        initialise_weights(nn.Linear(2, 2), **{setting: value})  # type: ignore[arg-type]


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
    done = fork_bundle("--config_file", str([plain, evaluate, baseline]), "--inference_time#repeats", 2, *settings)
    assert done.returncode == 0, done.stderr
    run = EvaluatedRun.read(tmp_path)
    assert (run.system, run.provenance.image_weights.kind) == (NAMES[name], "checkpoint")
    assert run.provenance.image_weights.sha256 == sha256(tmp_path / "best.pt")
    assert run.record["checkpoint"]["sha256"] == sha256(tmp_path / "best.pt")
    validated = (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert run.scores["classes"]["any nucleus"]["dice"] == pytest.approx(float(validated[-1]), abs=1e-6)
    assert json.loads((tmp_path / "evaluation" / "nuclei.json").read_text(encoding="utf-8"))["images"] == 1
    assert (tmp_path / "evaluation" / "report.html").is_file()
