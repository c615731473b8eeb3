"""Classes named by a file alone, from the dataset to the files that people open."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from monch_monai.class_table import PANNUKE, ClassTable, find_class_table
from monch_monai.data import Tiles
from monch_monai.datasets import write_synthetic
from tests.bundle.conftest import CONFIGS, fork_bundle, run_bundle
from tests.fakes.labels import some_classes
from tests.fakes.slides import write_slide

TRAIN = CONFIGS / "train.json"


def named(table: ClassTable, path: Path) -> Path:
    path.write_text(yaml.safe_dump(table.to_dict()), encoding="utf-8")
    return path


def run(*arguments: object) -> str:
    bundle = run_bundle if arguments[0] == TRAIN else fork_bundle  # a backward pass does not outlive a fork
    done = bundle("--config_file", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sure_of_nuclei(path: Path) -> Path:
    """The weights in a file, changed so that every pixel is of a nucleus."""
    state = torch.load(path, weights_only=True)
    state["head.prior"][0], state["head.prior"][1:] = -50, 9
    torch.save(state, path.with_name("sure.pt"))
    return path.with_name("sure.pt")


@pytest.mark.parametrize("number", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_a_table_goes_from_preparation_to_every_result_by_its_name_alone(number: int, tmp_path: Path) -> None:
    table = find_class_table(named(some_classes(number), tmp_path / "mine.yaml"))
    data, out = tmp_path / "data", tmp_path / "out"
    write_synthetic(data, 2, 2, 64, class_table=table)
    assert Tiles(data).class_table == table
    settings = ("--dataset_dir", data, "--output_dir", out, "--batch_size", 2)
    run(TRAIN, "--run_id", "training", *settings, "--epochs", 1, "--encoder_weights", "none")
    assert json.loads((out / "run.json").read_text())["provenance"]["class_table"] == table.to_dict()

    run(f"['{TRAIN}','{CONFIGS}/evaluate.json']", *settings, "--inference_time#repeats", 2)
    nuclei = [c.name for c in table.nuclei]
    assert [row["name"] for row in rows(out / "evaluation" / "scores.csv")] == [*table.names, "any nucleus"]
    assert [row["name"] for row in rows(out / "evaluation" / "nuclei.csv")] == [*nuclei, "any nucleus"]
    assert all(name in (out / "evaluation" / "report.html").read_text(encoding="utf-8") for name in nuclei)

    weights, image = sure_of_nuclei(out / "best.pt"), np.full((96, 96, 3), (200, 120, 180), np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    given = "--checkpoint", weights, "--output_dir"
    run(CONFIGS / "inference.json", "--dataset_dir", tmp_path / "images", *given, out / "i")
    found = json.loads((out / "i" / "a_nuclei.geojson").read_text(encoding="utf-8"))["features"]
    classes = {feature["properties"]["classification"]["name"] for feature in found}
    colors = {tuple(feature["properties"]["classification"]["color"]) for feature in found}
    assert classes
    assert classes <= set(nuclei)
    assert colors == {c.color for c in table.classes if c.name in classes}
    assert f"{nuclei[-1]} nuclei" in rows(out / "i" / "summary.csv")[0]

    slide = tmp_path / "slide.tif"
    write_slide(slide, np.tile(image, (3, 3, 1)), levels=1)
    run(CONFIGS / "inference_wsi.json", "--dataset_dir", slide, *given, out / "s")
    assert set(json.loads((out / "s" / "slide" / "summary.json").read_text())["nuclei"]) == set(nuclei)
    with tifffile.TiffFile(out / "s" / "slide" / "classes.ome.tif") as file:
        palette = np.asarray(file.pages[0].colormap)[:, : len(table)] // 257
    assert palette.T.tolist() == [list(c.color) for c in table.classes]


@pytest.mark.slow
def test_a_training_takes_datasets_of_several_vocabularies_and_scores_each(tmp_path: Path) -> None:
    for name, table in (("one", PANNUKE), ("two", some_classes(4))):
        write_synthetic(tmp_path / name, 2, 2, 64, class_table=table)
    log = run(
        TRAIN, "--run_id", "training", "--dataset_dir", f"[{tmp_path / 'one'},{tmp_path / 'two'}]", "--dataset_weights",
        "[1,3]", "--output_dir", tmp_path / "out", "--epochs", 1, "--batch_size", 2, "--encoder_weights", "none",
    )  # fmt: skip
    assert "scores of epoch 1 on one" in log
    assert "scores of epoch 1 on two" in log
    assert "any nucleus 50.0 %, drawn 75.0 %" in log  # the second's classes are none of the first's


def test_a_configs_missing_labels_are_named_in_one_line(tmp_path: Path) -> None:
    overlay = tmp_path / "earlier.json"
    overlay.write_text('{"loss": {"_target_": "monch_monai.losses.BCEAndDice", "class_weights": [5, 1, 1, 1, 1, 1]}}')
    done = fork_bundle("training", "--config_file", f"['{TRAIN}','{overlay}']", "--output_dir", tmp_path / "out")
    assert done.returncode == 1
    assert "names monch_monai.losses.BCEAndDice, which takes no class_weights: use this" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
