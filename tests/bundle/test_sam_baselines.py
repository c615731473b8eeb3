"""Med-SA and MA-SAM by their overlays, with a SAM small enough for tests."""

import csv
import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from safetensors.torch import load_file

from monch_monai.baselines import MaSam, MedSa
from monch_monai.class_table import PANNUKE
from monch_monai.datasets import write_synthetic
from monch_monai.encoders import RANDOM
from monch_monai.files import sha256
from monch_monai.report import EvaluatedRun
from tests.bundle.conftest import CONFIGS, fork_bundle, run_bundle
from tests.fakes.sam import SIZES, write_published

NAMES = {"med_sa": "Med-SA", "ma_sam": "MA-SAM"}
OF_BASELINES = {
    "_desc_", "_desc_mean", "_desc_learning_rate", "mean", "std", "learning_rate", "normalisation", "network_def",
    "loss", "lr_scheduler", "feature_maps", "word_maps",
}  # fmt: skip
OF_MA_SAM = {"optimizer#_target_", "optimizer#weight_decay", "validate#postprocessing"}
"""AdamW, and the maps of a softmax."""
SMALL = {f"network_def#{name}": value for name, value in {**SIZES, "image_size": 64}.items()}


def overlaid(name: str, **settings: object) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "baselines" / f"{name}.json"])
    parser.update({"class_table": PANNUKE, "weights": RANDOM, "device": "cpu", **SMALL, **settings})
    return parser


@pytest.mark.parametrize("name", NAMES)
def test_a_sam_baseline_changes_nothing_but_the_network_and_what_it_needs(name: str) -> None:
    changes = ConfigParser.load_config_file(CONFIGS / "baselines" / f"{name}.json")
    assert set(changes) <= OF_BASELINES | (OF_MA_SAM if name == "ma_sam" else set())
    assert changes["normalisation"] == "batch"  # no recipe's, which has none to exchange


@pytest.mark.parametrize(("name", "kind", "decay"), [("med_sa", "Adam", 0), ("ma_sam", "AdamW", 0.1)])
def test_the_optimiser_has_the_rate_given_and_what_is_trained(name: str, kind: str, decay: float) -> None:
    parser = overlaid(name, learning_rate=0.0123)
    network, optimizer = (parser.get_parsed_content(key) for key in ("network_def", "optimizer"))
    assert type(optimizer).__name__ == kind
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(0.0123, decay)}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in network.parameters() if p.requires_grad}


def rates(name: str, epochs: int) -> list[float]:
    parser = overlaid(name, epochs=epochs)
    optimizer, scheduler = (parser.get_parsed_content(key) for key in ("optimizer", "lr_scheduler"))
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_med_sas_rate_is_constant_and_ma_sams_falls_by_the_seventh_power_to_three_quarters() -> None:
    assert rates("med_sa", 7) == pytest.approx([1e-4] * 7)
    found = rates("ma_sam", 30)
    assert found[:3] == pytest.approx([8e-5, 4.4e-4, 8e-4])
    assert found[2:] == pytest.approx([8e-4 * (1 - n / 40) ** 7 for n in range(28)])
    assert rates("ma_sam", 1) == pytest.approx([8e-5])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network"), [("med_sa", MedSa), ("ma_sam", MaSam)])
def test_a_sam_baseline_takes_two_steps_by_the_recipe_and_is_evaluated(
    name: str, network: type, tmp_path: Path
) -> None:
    write_synthetic(tmp_path / "data", train=4, validation=1, tile_size=64)
    file = write_published(tmp_path / "sam.safetensors", network(image_size=64, **SIZES))
    plain, recipe, evaluate = (str(CONFIGS / f) for f in ("train.json", "recipes/consep.json", "evaluate.json"))
    baseline = str(CONFIGS / "baselines" / f"{name}.json")
    settings = ["--dataset_dir", tmp_path / "data", "--output_dir", tmp_path, "--batch_size", 2]
    settings += [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    begun = ["--epochs", 1, "--val_interval", 1, "--encoder_weights", file]
    training = run_bundle("training", "--config_file", str([plain, recipe, baseline]), *begun, *settings)
    assert training.returncode == 0, training.stderr
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["learning_rate"] == (1e-4 if name == "med_sa" else 8e-4)
    done = fork_bundle("--config_file", str([plain, evaluate, baseline]), "--inference_time#repeats", 2, *settings)
    assert done.returncode == 0, done.stderr
    run = EvaluatedRun.read(tmp_path)
    assert run.system == NAMES[name]
    assert run.record["checkpoint"]["sha256"] == sha256(tmp_path / "best.pt")
    *_, validated = list(csv.reader((tmp_path / "history.csv").open(encoding="utf-8")))[-1]
    assert run.scores["classes"]["any nucleus"]["dice"] == pytest.approx(float(validated), abs=1e-6)
    trained, published = torch.load(tmp_path / "last.pt", weights_only=True), load_file(file)
    start = "image_encoder.blocks.0.attn.qkv.weight", "mask_decoder.output_upscaling.0.weight"
    frozen, tuned = (trained[name] for name in ("encoder.trunk.blocks.0.attn.qkv.weight", "decoder.upscale.0.weight"))
    assert torch.allclose(frozen, published[start[0]], atol=1e-6)  # but for the moving average's rounding
    assert 1e-7 < float((tuned - published[start[1]]).abs().max()) < 0.01
