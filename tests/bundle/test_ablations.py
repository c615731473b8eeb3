import functools
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from tests.bundle.conftest import CONFIGS

SWITCHES = {
    "without_mgfe": {"mgfe": False},
    "without_ppd": {"ppd": False},
    "without_high_pass": {"high_pass": False},
    "without_topology": {"topology": False},
    "without_query_high": {"queries": ["conv", "topo", "text"]},
    "without_query_conv": {"queries": ["high", "topo", "text"]},
    "without_query_topo": {"queries": ["high", "conv", "text"]},
    "without_query_text": {"queries": ["high", "conv", "topo"]},
}


def parser(*overlays: Path) -> ConfigParser:
    made = ConfigParser()
    made.read_config([CONFIGS / "train.json", *overlays])
    return made


@functools.cache
def modules(*overlays: Path) -> dict[str, str]:
    """Types of the network's modules by name; what they are asks for no weights."""
    with torch.device("meta"):
        network = parser(*overlays).get_parsed_content("network_def")
    return {name: type(module).__name__ for name, module in network.named_modules()}


def overlay(name: str) -> Path:
    return CONFIGS / "ablations" / f"{name}.json"


def test_each_row_of_tables_3_to_5_has_its_overlay() -> None:
    found = {path.stem for path in (CONFIGS / "ablations").glob("*.json")}
    assert found == {*SWITCHES, "prompts_names", "prompts_random", "middle_stride_8"}


@pytest.mark.parametrize("prompts", ["names", "random"])
def test_words_are_replaced_by_prompts_alone(prompts: str) -> None:
    changed, plain = parser(overlay(f"prompts_{prompts}")).get(), parser().get()
    assert {k for k in changed if changed[k] != plain[k]} == {"prompts", "_desc_"}
    assert changed["prompts"] == prompts


@pytest.mark.parametrize("name", SWITCHES)
def test_differs_from_training_only_in_the_switch_it_names(name: str) -> None:
    changed, plain = parser(overlay(name)).get(), parser().get()
    assert changed["network_def"] == {**plain["network_def"], **SWITCHES[name]}
    assert changed["network_def"] != plain["network_def"]
    assert {k: v for k, v in changed.items() if k not in ("network_def", "_desc_")} == {
        k: v for k, v in plain.items() if k not in ("network_def", "_desc_")
    }


def test_each_is_another_network_than_the_whole_and_than_the_others() -> None:
    networks = [modules(overlay(name)) for name in SWITCHES] + [modules()]
    assert len({tuple(sorted(network.items())) for network in networks}) == len(networks)


@pytest.mark.parametrize(
    ("name", "absent", "present"),
    [
        ("without_mgfe", ["features.high", "features.conv", "features.topo"], {"features": "Identity"}),
        ("without_ppd", ["decoder"], {}),
        ("without_high_pass", [], {"features.high": "Sequential", "features.topo": "Topology"}),
        (
            "without_topology",
            ["features.topo.reduce"],
            {"features.high": "HighFrequency", "features.topo": "Sequential"},
        ),
        ("without_query_high", ["decoder.attend.high"], {"decoder.attend.text": "CrossAttention"}),
        ("without_query_conv", ["decoder.attend.conv"], {"decoder.attend.text": "CrossAttention"}),
        ("without_query_topo", ["decoder.attend.topo"], {"decoder.attend.text": "CrossAttention"}),
        ("without_query_text", ["decoder.attend.text"], {"decoder.attend.high": "CrossAttention"}),
    ],
)
def test_the_part_it_names_is_gone(name: str, absent: list[str], present: dict[str, str]) -> None:
    found = modules(overlay(name))
    assert set(absent) & set(found) == set()
    assert set(absent) <= set(modules())
    assert {key: found.get(key) for key in present} == present


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
def test_trains_two_steps_and_evaluates(name: str, dataset: Path, tmp_path: Path) -> None:
    configs = [str(CONFIGS / "train.json"), str(overlay(name))]
    settings = {"dataset_dir": str(dataset), "output_dir": str(tmp_path), "batch_size": 2, "device": "cpu"}
    monai.bundle.run("training", logging_file=False, config_file=configs, epochs=1, encoder_weights="none", **settings)
    evaluate = [*configs, str(CONFIGS / "evaluate.json")]
    monai.bundle.run(
        "evaluating", logging_file=False, config_file=evaluate, **settings, **{"inference_time#repeats": 2}
    )
    assert (tmp_path / "evaluation" / "report.html").is_file()
