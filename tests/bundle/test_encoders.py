"""The overlays of the encoders."""

import csv
import json
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.encoders import TEXT_ENCODERS, ClipText
from monch_monai.networks import Monch
from monch_monai.predict.predictor import normalisation
from tests.bundle.conftest import CONFIGS

NAMES = sorted(path.stem for path in (CONFIGS / "encoders").glob("*.json"))
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
GOOGLES = ([127 / 255] * 3, [128 / 255] * 3)
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def parser(name: str, base: str = "train.json", *after: str) -> ConfigParser:
    made = ConfigParser()
    overlay = [] if name == "clip_rn50" else [CONFIGS / "encoders" / f"{name}.json"]
    made.read_config([CONFIGS / base, *overlay, *(CONFIGS / other for other in after)])
    return made


def build(name: str, *files: str) -> Monch:
    return parser(name, *files).get_parsed_content("network_def")


def test_each_encoder_of_tables_6_and_7_has_its_overlay_and_two_small_ones() -> None:
    assert set(NAMES) == {
        *("clip_rn50x4", "clip_rn101", "clip_vit_b_16", "clip_vit_l_14", "plip", "plip_224", "conch", "uni"),
        *("efficientnet_lite0", "efficientnet_lite2"),
        *("sam_b", "sam_l", "sam_h", "sam2_tiny", "sam2_small", "sam2_base_plus", "sam2_large"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_builds_the_encoder_it_is_named_after_and_takes_its_text(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
        text = (network.image_encoder.publication.text or ClipText)()
        if (other := parser(name).get_parsed_content("text_encoder")) is not None:
            text = TEXT_ENCODERS[other]()[0]
    assert network.image_encoder.name == name
    assert network.text_features.shape[1] == text.dim


@pytest.mark.parametrize("name", ["clip_rn50", *NAMES])
@pytest.mark.parametrize("files", [("train.json",), ("train.json", "evaluate.json"), ("inference.json",)])
def test_images_are_normalised_as_the_encoder_was_trained(name: str, files: tuple[str, ...]) -> None:
    with torch.device("meta"):
        made = parser(name, *files)
        network = made.get_parsed_content("network_def")
        found = (made.get_parsed_content("mean"), made.get_parsed_content("std"))
    assert network.image_encoder.name == name
    expected = IMAGENET if name.startswith(("sam", "uni")) else GOOGLES if "lite" in name else CLIP
    assert tuple(map(list, normalisation(network, *found))) == expected


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_no_config_has_a_normalisation_of_its_own(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("mean", "std"):
        assert config.get(key) in (None, f"$@network_def.image_encoder.{key}")


@pytest.mark.slow
def test_one_trains_evaluates_and_segments_by_its_overlay_alone(dataset: Path, tmp_path: Path) -> None:
    overlay = str(CONFIGS / "encoders" / "sam2_tiny.json")
    train, out = [str(CONFIGS / "train.json"), overlay], tmp_path / "out"
    settings = {"logging_file": False, "device": "cpu", "output_dir": str(out)}
    data = {"dataset_dir": str(dataset), "batch_size": 2}
    tuned = {"encoder_weights": "none", "epochs": 1, "layer_decay": 0.9}
    monai.bundle.run("training", config_file=train, **settings, **data, **tuned)
    with (out / "history.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 1
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (record["provenance"]["encoder"], record["provenance"]["text_encoder"]) == ("sam2_tiny", "clip_rn50")
    evaluate = [*train, str(CONFIGS / "evaluate.json")]
    monai.bundle.run("evaluating", config_file=evaluate, **settings, **data, **{"inference_time#repeats": 2})
    assert (out / "evaluation" / "report.html").is_file()
    (tmp_path / "images").mkdir()
    Image.fromarray(synthetic_tile(np.random.default_rng(1), 96).image).save(tmp_path / "images" / "field.png")
    infer = [str(CONFIGS / "inference.json"), overlay]
    settings["output_dir"] = str(tmp_path / "segmented")
    given = {"dataset_dir": str(tmp_path / "images"), "checkpoint": str(out / "last.pt")}
    monai.bundle.run("inferring", config_file=infer, **settings, **given)
    assert (tmp_path / "segmented" / "field_classes.png").is_file()
