import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data.utils import set_rnd
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.datasets import write_synthetic
from monch_monai.encoders import RANDOM, Format, Origin, Publication, PublishedStart
from monch_monai.errors import InputError, find_input_error
from monch_monai.files import sha256
from monch_monai.networks import initialise_weights, parameter_groups
from monch_monai.networks.provenance import provenance_of
from monch_monai.report import EvaluatedRun
from tests.bundle.conftest import CONFIGS, fork_bundle, run_bundle

NAMES = {"unet": "U-Net", "hovernet": "HoVer-Net", "tsfd": "TSFD-Net", "cppnet": "CPP-Net"}
OWN = {
    "mean", "std", "learning_rate", "normalisation", "network_def", "loss", "feature_maps", "word_maps",
}  # fmt: skip
TILES = {"spatial_keys", "spatial_modes", "load_label", "+train#preprocessing#transforms", "validate#postprocessing"}
"""What a baseline has of its own or cannot have, and what those do besides that learn of nuclei and find their own."""
BESIDES = {
    "unet": set(),
    "hovernet": TILES,
    "tsfd": TILES | {"optimizer#_target_", "optimizer#momentum", "lr_scheduler"},
    "cppnet": TILES | {"optimizer#weight_decay"},
}
SMALL = {"cppnet": {"network_def#model": "resnet18", "network_def#widths": [32, 16, 8], "network_def#ray_channels": 8}}
"""Settings by which a network is small enough for tests."""
CHANNELS = {"hovernet": 3, "tsfd": 3, "cppnet": 34}
"""Of the truth that networks which find nuclei of their own learn from."""


def need(name: str) -> None:
    """Skips a test of a baseline whose extra is not installed."""
    if name == "cppnet":
        pytest.importorskip("stardist")


@pytest.mark.parametrize("name", CHANNELS)
def test_a_baseline_is_trained_on_the_same_tiles_as_monch_with_their_nuclei(name: str, tmp_path: Path) -> None:
    need(name)
    write_synthetic(tmp_path / "data", train=1, validation=1, tile_size=64)

    def tile(*overlays: str) -> dict:
        parser = ConfigParser()
        parser.read_config([CONFIGS / "train.json", *(CONFIGS / name for name in overlays)])
        parser.update({"dataset_dir": str(tmp_path / "data"), "device": "cpu", "augmentation": 1.0})
        dataset = parser.get_parsed_content("train#dataset")
        set_rnd(dataset, 1)
        mean, std = (torch.tensor(parser.get_parsed_content(key)).reshape(3, 1, 1) for key in ("mean", "std"))
        made = dataset[0]
        return made | {"colours": made["image"].as_tensor() * std + mean}

    plain, its_own = tile(), tile(f"baselines/{name}.json")
    assert torch.allclose(its_own["colours"], plain["colours"], atol=1e-5)
    assert torch.equal(its_own["label"][:1], plain["label"])
    assert its_own["label"].shape == (CHANNELS[name], 64, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_changes_nothing_but_the_network_and_what_it_needs(name: str) -> None:
    changes = ConfigParser.load_config_file(CONFIGS / "baselines" / f"{name}.json")
    assert {key for key in changes if not key.startswith("_desc_")} <= OWN | BESIDES[name]


@pytest.mark.parametrize("overlay", ["", *NAMES])
def test_the_learning_rate_given_reaches_the_optimiser_and_only_what_is_trained(overlay: str) -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", *([CONFIGS / "baselines" / f"{overlay}.json"] if overlay else [])])
    parser.update({"class_table": PANNUKE, "weights": RANDOM, "learning_rate": 0.0123, "device": "cpu"})
    parser.update(SMALL.get(overlay, {}))
    if not overlay:
        parser["network_def"] = {"_target_": "tests.fakes.network.frozen_monch"}
    network, optimizer = parser.get_parsed_content("network_def"), parser.get_parsed_content("optimizer")
    assert type(optimizer).__name__ == ("SGD" if overlay == "tsfd" else "Adam")
    assert {group["lr"] for group in optimizer.param_groups} == {0.0123}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in network.parameters() if p.requires_grad}


def test_an_overlay_that_replaces_the_groups_keeps_the_learning_rate() -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "baselines" / "unet.json"])
    parser.update({"class_table": PANNUKE, "weights": RANDOM, "learning_rate": 0.0123})
    parser["optimizer#params"] = "$@network_def.parameters()"
    assert [group["lr"] for group in parser.get_parsed_content("optimizer").param_groups] == [0.0123]


def test_the_record_states_the_rate_of_an_overlays_own_optimiser_and_another_given_is_refused() -> None:
    def recorded(**given: float) -> float:
        parser = ConfigParser()
        parser.read_config([CONFIGS / "train.json", CONFIGS / "baselines" / "unet.json"])
        parser["optimizer"] = {"_target_": "torch.optim.SGD", "params": "$@network_def.parameters()", "lr": 0.5}
        parser.update({"class_table": PANNUKE, "weights": RANDOM, "learning_rate": None, **given})
        return parser.get_parsed_content("record#settings#learning_rate")

    assert recorded() == recorded(learning_rate=0.5) == 0.5
    assert recorded(learning_rate_drop=2) == 0.5  # the schedule is train.json's, which uses it
    with pytest.raises(RuntimeError) as caught:
        recorded(learning_rate=0.0123)
    assert "learning_rate is 0.0123, but the config's SGD starts from 0.5" in str(find_input_error(caught.value))


def test_rates_by_layer_are_refused_where_there_are_no_layers() -> None:
    with pytest.raises(InputError, match=r"layer_decay is 0.5, but Linear has no image encoder with layers"):
        parameter_groups(nn.Linear(2, 2), 1.0, 0.5)


class Pretrained(nn.Module):
    """A network whose part `trunk` starts from a published file, which names it `body`."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(2, 3), nn.Linear(3, 1)

    def published_start(self) -> PublishedStart:
        kind = Format("a file of the body", {r"^image\.": "body."}, unused=r"classes\.")
        publication = Publication("none/such", ("body.pth",), (kind,), licence="CC0-1.0")
        return PublishedStart("the body", publication, {"image": self.trunk})


def test_another_network_starts_from_its_published_weights_and_its_record_states_so(tmp_path: Path) -> None:
    torch.save(
        {"body.weight": torch.ones(3, 2), "body.bias": torch.zeros(3), "classes.bias": torch.zeros(9)},
        file := tmp_path / "body.pth",
    )
    network = Pretrained()
    head = network.head.weight.clone()
    for choice in (file, tmp_path):
        origin = initialise_weights(network, str(choice))
        assert origin == provenance_of(network).image_weights == Origin("file", "body.pth", sha256=sha256(file))
    assert torch.equal(network.trunk.weight, torch.ones(3, 2))
    assert torch.equal(network.head.weight, head)
    random = Pretrained()
    assert initialise_weights(random, "none") == RANDOM
    assert initialise_weights(random, str(file), resume=True) is None
    assert not torch.equal(random.trunk.weight, torch.ones(3, 2))


def test_files_of_other_networks_are_refused_and_change_nothing(tmp_path: Path) -> None:
    torch.save({"body.weight": torch.ones(3, 2), "neck.bias": torch.zeros(3)}, tmp_path / "body.pth")
    network = Pretrained()
    before = network.trunk.weight.clone()
    found = r"as a file of the body 1 missing: body.bias; 1 unexpected: neck.bias"
    with pytest.raises(InputError, match=found):
        initialise_weights(network, str(tmp_path))
    with pytest.raises(InputError, match="encoder_weights 'clap' is neither"):
        initialise_weights(network, "clap")
    assert torch.equal(network.trunk.weight, before)


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


@pytest.mark.parametrize(
    ("name", "tile_size", "train"),
    [
        ("unet", 64, 2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("hovernet", 256, 2), ("tsfd", 64, 4), ("cppnet", 64, 4)]
        ),
    ],
)
def test_a_baseline_trains_by_the_recipe_and_is_evaluated(
    name: str, tile_size: int, train: int, tmp_path: Path
) -> None:
    need(name)
    write_synthetic(tmp_path / "data", train=train, validation=1, tile_size=tile_size)
    plain, recipe, evaluate = (str(CONFIGS / f) for f in ("train.json", "recipes/consep.json", "evaluate.json"))
    baseline = str(CONFIGS / "baselines" / f"{name}.json")
    settings = ["--dataset_dir", tmp_path / "data", "--output_dir", tmp_path, "--batch_size", 2]
    settings += [word for key, value in SMALL.get(name, {}).items() for word in (f"--{key}", str(value))]
    training = run_bundle(
        "training", "--config_file", str([plain, recipe, baseline]), "--epochs", 1, "--val_interval", 1, *settings
    )
    assert training.returncode == 0, training.stderr
    done = fork_bundle("--config_file", str([plain, evaluate, baseline]), "--inference_time#repeats", 2, *settings)
    assert done.returncode == 0, done.stderr
    run = EvaluatedRun.read(tmp_path)
    published = name in ("hovernet", "cppnet")  # which started without, as the sample does where there is no download
    assert run.system == NAMES[name] + (", random weights" if published else "")
    assert run.provenance.image_weights.kind == ("checkpoint" if name == "unet" else "random")
    if name == "unet":  # MONAI's network stores no record of its own
        assert run.provenance.image_weights.sha256 == sha256(tmp_path / "best.pt")
    else:
        assert run.provenance.recipe["epochs"] == 1
    assert run.record["checkpoint"]["sha256"] == sha256(tmp_path / "best.pt")
    validated = (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert run.scores["classes"]["any nucleus"]["dice"] == pytest.approx(float(validated[-1]), abs=1e-6)
    assert json.loads((tmp_path / "evaluation" / "nuclei.json").read_text(encoding="utf-8"))["images"] == 1
    assert (tmp_path / "evaluation" / "report.html").is_file()
