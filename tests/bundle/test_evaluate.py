"""What `evaluate.json` leaves in its folder, of a model trained and evaluated on synthetic tiles."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.report import EvaluatedRun
from tests.bundle.conftest import REPOSITORY
from tests.fakes.evaluations import Page

Evaluated = tuple[Path, subprocess.CompletedProcess[str]]

SYSTEM = "MONCH, CLIP, random weights"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(cells: list[str]) -> list[float | None]:
    return [float(cell) if cell else None for cell in cells]


def test_everything_is_there(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made == {
        "calibration.json", "compared_tiles.npz", "counts.csv", "figures/confusion.png", "figures/f1_by_organ.png",
        "figures/feature_maps.png", "figures/reliability.png", "figures/training.png", "figures/words.png",
        "inference_time.json",
        "log.txt", "nuclei.csv", "nuclei.json", "nuclei_by_organ.csv", "overlay_001.png", "report.html", "run.json",
        "scores.csv", "scores.json", "scores_by_organ.csv", "scores_by_organ_and_class.csv", "tables/table1.csv",
        "tables/table1.md", "tables/table2.csv", "tables/table2.md", "tiles/best_1.png", "tiles/tiles.json",
        "tiles/worst_1.png",
    }  # fmt: skip


def test_its_last_words_name_scores_picture_and_report(evaluated: Evaluated) -> None:
    folder, done = evaluated
    for line, name in zip(done.stdout.splitlines()[-3:], ("scores.csv", "overlay_001.png", "report.html"), strict=True):
        assert line.endswith(str(folder / name))


def test_table_1_has_the_numbers_of_the_scores(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    *paper, ours = rows(folder / "tables" / "table1.csv")
    assert (ours["system"], ours["source"], {row["source"] for row in paper}) == (SYSTEM, "this software", {"paper"})
    for row in rows(folder / "scores.csv")[1:6]:
        printed = [ours[f"{row['name']} {title}"] for title in ("IoU", "precision", "F1")]
        assert numbers(printed) == numbers([row[key] for key in ("iou", "precision", "dice")])
    time = json.loads((folder / "inference_time.json").read_text(encoding="utf-8"))
    assert float(ours["inference ms"]) == time["median_ms"] > 0


def test_table_2_has_the_numbers_of_the_organs(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    printed = {row["organ"]: row for row in rows(folder / "tables" / "table2.csv")}
    organs = rows(folder / "scores_by_organ.csv")
    for row in organs:
        name = row["organ"] if row["organ"] in printed else "average: six classes of the pooled test set"
        keys = ("mean_iou_with_background", "fw_iou", "f1_of_means_with_background")
        assert [float(printed[name][f"{SYSTEM} {title}"]) for title in ("IoU", "FWIoU", "F1")] == [
            float(row[key]) for key in keys
        ]
    assert len(organs) >= 2
    assert organs[-1]["organ"] == "all images"


def test_the_markdown_has_dashes_for_organs_not_evaluated(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    organs = {row["organ"] for row in rows(folder / "scores_by_organ.csv")}
    lines = (folder / "tables" / "table2.md").read_text(encoding="utf-8").splitlines()
    tissues = [line for line in lines[2:21] if line.split(" | ")[0].strip("| ") not in organs]
    assert len(tissues) >= 16
    assert all(line.split(" | ")[1:4] == ["-"] * 3 for line in tissues)


def test_the_run_is_known_as_the_whole_network(evaluated: Evaluated) -> None:
    run = EvaluatedRun.read(evaluated[0])
    assert (run.row, run.backbone, run.record["kind"]) == ("MONCH", "CLIP", "evaluation")
    assert run.record["config"]["network_def"]["topology"] is True


def test_every_pixel_is_in_the_calibration_of_every_class(evaluated: Evaluated) -> None:
    classes = json.loads((evaluated[0] / "calibration.json").read_text(encoding="utf-8"))["classes"]
    assert {name: sum(row["pixels"]) for name, row in classes.items()} == {c.name: 3 * 64 * 64 for c in PANNUKE.nuclei}
    assert all(0 <= row["expected_calibration_error"] <= 1 for row in classes.values())


def test_the_time_is_of_one_tile_on_the_device_used(evaluated: Evaluated) -> None:
    time = json.loads((evaluated[0] / "inference_time.json").read_text(encoding="utf-8"))
    assert (time["device"], time["batch_size"], time["tile_size"], time["repeats"]) == ("cpu", 1, 256, 30)
    assert time["quartiles_ms"][0] <= time["median_ms"] <= time["quartiles_ms"][1]


def test_notable_tiles_are_of_the_dataset_and_ranked(evaluated: Evaluated, dataset: Path) -> None:
    folder, _ = evaluated
    listed = json.loads((folder / "tiles" / "tiles.json").read_text(encoding="utf-8"))
    assert list(listed) == ["worst_1", "best_1"]
    assert listed["worst_1"]["mean_dice"] <= listed["best_1"]["mean_dice"]
    for name, tile in listed.items():
        path, _, index = tile["image"].partition("#")
        assert Path(path).parent.parent == dataset
        with Image.open(folder / "tiles" / f"{name}.png") as picture:
            assert np.array_equal(np.asarray(picture)[:, :64], np.load(path)[int(index)])


def test_the_page_has_the_scores_the_pictures_and_a_warning(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert f"mean Dice of nuclei {scores['organs']['all images']['mean_f1_of_nuclei']:.4f}" in page.text
    assert "started from random weights" in page.text
    assert len(page.pictures) == 6 + 2
    assert all(reference.startswith("data:") for reference in page.references)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["checkpoint"]["sha256"] in page.text
    assert record["data_fingerprint"] in page.text


@pytest.fixture
def copy(evaluated: Evaluated, tmp_path: Path) -> Path:
    return shutil.copytree(evaluated[0], tmp_path / "copy")


def test_the_report_command_makes_the_same_page_again(evaluated: Evaluated, copy: Path) -> None:
    made = ["report.html", *(f"tables/table{n}.{end}" for n in (1, 2) for end in ("csv", "md"))]
    for name in made:
        (copy / name).unlink()
    command = [sys.executable, "-m", "monch_monai", "report", str(copy)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(copy / "report.html")), done.stderr
    for name in made:
        assert (copy / name).read_bytes() == (evaluated[0] / name).read_bytes()
