import csv
from pathlib import Path
from types import SimpleNamespace

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from monch_monai.encoders import Origin
from monch_monai.encoders.weights import RANDOM
from monch_monai.losses import BCEAndDice
from monch_monai.runs import CooldownLR
from tests.bundle.conftest import CONFIGS
from tests.fakes.labels import PLAIN

RECIPES = sorted((CONFIGS / "recipes").glob("*.json"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_changes_only_settings_that_training_has(recipe: Path) -> None:
    plain, changes = ConfigParser.load_config_file(CONFIGS / "train.json"), ConfigParser.load_config_file(recipe)
    added = {name for name in changes if name.lstrip("+").split("#")[0] not in plain and not name.startswith("_desc")}
    assert added <= {"ema"}


@pytest.mark.slow
def test_the_consep_recipe_validates_and_keeps_the_moving_average_and_resumes(dataset: Path, tmp_path: Path) -> None:
    configs = [str(CONFIGS / "train.json"), str(CONFIGS / "recipes" / "consep.json")]
    settings = {
        "dataset_dir": str(dataset),
        "output_dir": str(tmp_path),
        "batch_size": 2,
        "device": "cpu",
        "val_interval": 1,
        "lr_scheduler#epochs": 8,
    }
    monai.bundle.run("training", logging_file=False, config_file=configs, epochs=1, **settings)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    name = "head.enter.weight"
    assert torch.equal(last[name], state["average"][name])
    assert not torch.equal(last[name], state["network"][name])
    assert last["image_encoder.instance_norm"]

    monai.bundle.run("training", logging_file=False, config_file=configs, epochs=2, resume=True, **settings)
    with (tmp_path / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    resumed = torch.load(tmp_path / "last.pt", weights_only=True)[name]
    trained = torch.load(tmp_path / "training_state.pt", weights_only=True)["network"][name]
    assert not torch.equal(trained, state["network"][name])
    # Two steps with momentum 0.01 stay near the average they began with.
    moved, gap = (resumed - last[name]).norm(), (state["network"][name] - last[name]).norm()
    assert 0 < moved < gap


def test_the_consep_recipe_adds_dice_and_weighs_the_background() -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "recipes" / "consep.json"])
    parser["tile_labels"] = SimpleNamespace(sets=PLAIN)
    loss = parser.get_parsed_content("loss")
    assert isinstance(loss, BCEAndDice)
    assert (loss.dice_weight, loss.bce.background_weight) == (0.1, 5)


def test_the_phase_for_other_scanners_enlarges_tiles_before_it_turns_them() -> None:
    parser = ConfigParser()
    parser.read_config(
        [CONFIGS / "train.json", *(CONFIGS / "recipes" / f for f in ("consep.json", "other_scanners.json"))]
    )
    plain = ConfigParser.load_config_file(CONFIGS / "train.json")["train"]["preprocessing"]["transforms"]
    assert parser["train#preprocessing#transforms"] == plain
    transforms = parser.get_parsed_content("train#preprocessing#transforms")
    zoom, turn = transforms[plain.index("@spatial_augmentation")].transforms
    assert type(turn).__name__ == "RandAffined"
    assert (zoom.rand_zoom.min_zoom, zoom.rand_zoom.max_zoom, zoom.keys) == ((0.8,), (2.0,), ("image", "label"))


@pytest.mark.parametrize(
    ("given", "rate", "epoch"),
    [
        ({"weights": RANDOM, "epochs": 8}, 1e-3, 6),
        ({"weights": Origin("hub", "somewhere"), "epochs": 1}, 5e-5, 1),
        ({"weights": RANDOM, "learning_rate": 0.02, "learning_rate_drop": 5}, 0.02, 5),
    ],
)
def test_rate_and_drop_are_those_given_or_by_weights_and_epochs(given: dict, rate: float, epoch: int) -> None:
    parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
    for name, value in {"network_def": {"_target_": "tests.fakes.network.small_monch"}, **given}.items():
        parser[name] = value
    scheduler = parser.get_parsed_content("lr_scheduler")
    assert scheduler.get_last_lr() == [rate]
    assert list(scheduler.milestones) == [epoch]


@pytest.mark.parametrize(
    ("phase", "epochs", "expected"),
    [
        ([], 26, {0: 1, 10: 0.905, 20: 0.655, 21: 0.520, 23: 0.281, 25: 0.083, 26: 0}),
        ([], 80, {0: 1, 40: 0.5, 80: 0}),
        (["other_scanners.json"], 4, {0: 1, 2: 0.5, 4: 0}),
    ],
)
def test_the_learning_rate_stays_high_for_long_and_ends_at_nothing(
    phase: list[str], epochs: int, expected: dict[int, float]
) -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", *(CONFIGS / "recipes" / f for f in ("consep.json", *phase))])
    parser["epochs"], parser["optimizer"] = epochs, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    scheduler, rates = parser.get_parsed_content("lr_scheduler"), []
    for _ in range(epochs + 1):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected, abs=1e-3)
    assert min(rates) >= 0


def test_a_schedule_stays_as_it_was_when_resumed_with_more_epochs() -> None:
    def schedule(epochs: int) -> CooldownLR:
        return CooldownLR(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1), epochs)

    resumed = schedule(40)
    resumed.load_state_dict(schedule(26).state_dict())
    assert [resumed.factor(epoch) for epoch in (26, 27, 60)] == [0, 0, 0]


@pytest.mark.slow
def test_the_recipe_of_many_organs_learns_a_distance_map_by_which_evaluation_separates_nuclei(
    dataset: Path, tmp_path: Path
) -> None:
    train = [str(CONFIGS / "train.json"), str(CONFIGS / "recipes" / "many_organs.json")]
    settings = {"dataset_dir": str(dataset), "output_dir": str(tmp_path), "batch_size": 2, "device": "cpu"}
    random = {"encoder_weights": "none", "normalisation": "instance", "prompts": "random", "text_encoder": None}
    monai.bundle.run("training", logging_file=False, config_file=train, epochs=1, **settings, **random)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert last["head.distance.weight"].shape == (1, 32, 3, 3)
    plain = [str(CONFIGS / "train.json"), str(CONFIGS / "evaluate.json")]  # the checkpoint brings its network
    monai.bundle.run("evaluating", logging_file=False, config_file=plain, **{"inference_time#repeats": 2}, **settings)
    assert (tmp_path / "evaluation" / "nuclei.csv").is_file()
