import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monch_monai.datasets.synthetic import synthetic_tile
from tests.bundle.conftest import CONFIGS, fork_bundle, run_bundle
from tests.fakes.slides import paint, write_slide

Trained = tuple[Path, subprocess.CompletedProcess[str]]


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of synthetic tissue, and a JPEG that calls itself one."""
    folder = tmp_path_factory.mktemp("cohort")
    for seed, name in enumerate(("one", "two")):
        write_slide(folder / f"{name}.tif", synthetic_tile(np.random.default_rng(seed), 560).image, levels=2)
    Image.fromarray(paint([], (400, 300))).save(folder / "photo.jpg")
    (folder / "photo.jpg").rename(folder / "photo.svs")
    return folder


@pytest.fixture(scope="module")
def segmented(trained: Trained, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    output_dir = tmp_path_factory.mktemp("segmented")
    done = run_bundle(
        "--config_file", CONFIGS / "inference_wsi.json", "--dataset_dir", cohort, "--output_dir", output_dir,
        "--checkpoint", trained[0] / "best.pt", "--nucleus_min_area_um2", 0,
    )  # fmt: skip
    return output_dir, done


def test_a_broken_slide_of_three_is_named_and_the_others_are_whole(segmented: Trained) -> None:
    folder, done = segmented
    assert done.returncode == 1
    assert last_line(done) == "ERROR: 1 of 3 slides have no result: photo.svs; see above"
    assert "photo.svs cannot be read as a slide" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for name in ("one", "two"):
        summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
        collection = json.loads((folder / name / "nuclei.geojson").read_text(encoding="utf-8"))
        assert len(collection["features"]) == summary["nuclei_total"]
        assert summary["tissue_mm2"] > 0
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as file:
        assert [row["slide"] for row in csv.DictReader(file)] == ["one.tif", "photo.svs", "two.tif"]
    names = {"cohort.csv", "log.txt", "run.json", "one", "two"}
    assert {path.name for path in folder.iterdir()} == names


def test_the_record_tells_weights_and_settings(segmented: Trained, trained: Trained) -> None:
    record = json.loads((segmented[0] / "run.json").read_text(encoding="utf-8"))
    assert record["kind"] == "slides"
    assert record["checkpoint"]["file"] == str(trained[0] / "best.pt")
    assert record["settings"]["tile_size"] == 256
    log = (segmented[0] / "log.txt").read_text(encoding="utf-8")
    assert "one.tif: " in log
    assert "of the work: reading" in log
    *_, picture, viewer = log.splitlines()
    assert picture.endswith(f"picture  {segmented[0] / 'one' / 'thumbnail.png'}")
    assert viewer.endswith(f"viewer   python -m monch_monai view {segmented[0]}")
    assert record["settings"]["dataset_dir"] == record["config"]["dataset_dir"]


def test_a_dry_run_tells_and_writes_nothing(trained: Trained, cohort: Path, tmp_path: Path) -> None:
    done = fork_bundle(
        "--config_file", CONFIGS / "inference_wsi.json", "--dataset_dir", cohort / "one.tif", "--dry_run", "true",
        "--output_dir", tmp_path / "out", "--checkpoint", trained[0] / "best.pt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "one.tif: 560x560 px at 0.25 µm/px" in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
