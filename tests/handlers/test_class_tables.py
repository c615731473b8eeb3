"""Handlers with labels that stand for several classes, with several datasets, and with another class table."""

import csv
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from monch_monai.class_table import LabelSets
from monch_monai.data.images import read_class_map, read_rgb
from monch_monai.handlers import (
    Calibration,
    MeanDice,
    NotableTiles,
    NucleusScores,
    OverlaySheet,
    PredictionWriter,
    ScoreTable,
)
from monch_monai.handlers.calibration import calibration_counts
from monch_monai.nuclei import WatershedNuclei
from monch_monai.overlay import MISTAKES, draw_contours, draw_mistakes, halo_color
from monch_monai.segmentation import FoundNuclei
from monch_monai.slides.working_image import PIXELS, SIZE
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.nuclei import disc

SHAPE = (64, 64)
OTHER = some_classes(4)
EITHER, ANY = 6, 7
"""Values of SEVERAL: neoplastic or epithelial, and any nucleus."""


def painted(*discs):
    """Class map and instance map of discs (x, y, class)."""
    classes, ids = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint16)
    for i, (x, y, c) in enumerate(discs, start=1):
        mask = disc(SHAPE, x, y, 7)
        classes[mask], ids[mask] = c, i
    return classes, ids


def probs_of(classes, number):
    return torch.stack([torch.from_numpy(np.equal(classes, c)) for c in range(1, number)]).half()


def evaluate(folder, tiles, handlers, number=6, datasets=("d",)):
    """An evaluation of tiles (predicted class map, true class map, true instance map), of one dataset after the other.

    The engine's state.
    """
    np.save(folder / "images.npy", np.zeros((len(tiles), *SHAPE, 3), np.uint8))
    np.save(folder / "instances.npy", np.stack([ids for _, _, ids in tiles]))

    def step(engine, batch):
        engine.state.batch, output = [], []
        for i in batch:
            pred, label, _ = tiles[i]
            origin = {"tissue": "Skin", "source": "s", "dataset": datasets[i % len(datasets)]}
            engine.state.batch.append({"instances": f"{folder / 'instances.npy'}#{i}", **origin})
            image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": f"{folder / 'images.npy'}#{i}"})
            maps = {"pred": torch.from_numpy(pred)[None], "label": torch.from_numpy(label)[None]}
            output.append({"image": image, **maps, "probs": probs_of(pred, number)})
        return output

    evaluator = Engine(step)
    evaluator.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "metric_details", {}))
    for handler in handlers:
        handler.attach(evaluator, *(["mean_dice"] if isinstance(handler, MeanDice) else []))
    evaluator.run(SimpleBatches(len(tiles)))
    return evaluator.state


class SimpleBatches:
    """Batches of one tile, and the set they are of."""

    def __init__(self, count):
        self.dataset = range(count)

    def __iter__(self):
        return iter([[i] for i in self.dataset])

    def __len__(self):
        return len(self.dataset)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def by_name(path):
    return {row["name"]: row for row in rows(path)}


def test_a_label_of_several_classes_is_right_where_one_of_them_is_predicted(tmp_path):
    truth, ids = painted((15, 15, EITHER), (45, 15, EITHER), (15, 45, 2), (45, 45, ANY))
    guess, _ = painted((15, 15, 1), (45, 15, 5), (15, 45, 2), (45, 45, 4))
    state = evaluate(tmp_path, [(guess, truth, ids)], [MeanDice(SEVERAL), ScoreTable(tmp_path / "out")])
    assert state.metrics["mean_dice"] == 1
    scores = by_name(tmp_path / "out" / "scores.csv")
    assert list(scores) == [*SEVERAL.table.names, "neoplastic or epithelial", "any nucleus"]
    area = np.count_nonzero(ids == 1)
    assert int(scores["neoplastic or epithelial"]["pixels"]) == 2 * area
    assert scores["neoplastic or epithelial"]["dice"] == "1.0"
    assert scores["neoplastic"]["dice"] == ""
    assert int(scores["any nucleus"]["pixels"]) == 4 * area


def test_what_is_none_of_several_classes_is_wrong(tmp_path):
    truth, ids = painted((15, 15, EITHER), (45, 15, EITHER))
    guess, _ = painted((15, 15, 1), (45, 15, 2))
    state = evaluate(tmp_path, [(guess, truth, ids)], [MeanDice(SEVERAL), ScoreTable(tmp_path / "out")])
    assert state.metrics["mean_dice"] == pytest.approx(2 / 3)
    assert by_name(tmp_path / "out" / "scores.csv")["any nucleus"]["dice"] == "1.0"


def test_counts_name_the_labels_and_the_classes(tmp_path):
    truth, ids = painted((15, 15, ANY))
    guess, _ = painted((15, 15, 3))
    evaluate(tmp_path, [(guess, truth, ids)], [MeanDice(SEVERAL), ScoreTable(tmp_path / "out")])
    (counts,) = rows(tmp_path / "out" / "counts.csv")
    assert int(counts["any nucleus>connective"]) == np.count_nonzero(ids)
    assert len([name for name in counts if ">" in name]) == 8 * 6
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["labels"] == SEVERAL.names
    assert np.shape(scores["confusion_matrix"]) == (8, 6)


def test_the_key_metric_is_the_mean_of_the_datasets_however_large_each_is(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    truth, ids = painted((15, 15, 1), (45, 15, 1))
    half, _ = painted((15, 15, 1))
    tiles = [(truth, truth, ids), (half, truth, ids), (truth, truth, ids), (truth, truth, ids)]
    datasets = ["a", "b", "a", "a"]
    state = evaluate(tmp_path, tiles, [MeanDice(SEVERAL), ScoreTable(tmp_path / "out")], datasets=datasets)
    assert state.metrics["mean_dice"] == pytest.approx((1 + 2 / 3) / 2)
    table = rows(tmp_path / "out" / "scores_by_dataset.csv")
    dice = {row["dataset"]: float(row["dice"]) for row in table if row["name"] == "neoplastic"}
    assert dice == {"a": 1, "b": pytest.approx(2 / 3)}
    tables = [r.getMessage().splitlines()[0] for r in caplog.records if r.name == "monch_monai.handlers.scores"]
    assert tables == ["scores on a", "scores on b"]


def test_a_dataset_without_nuclei_has_no_say_in_the_key_metric(tmp_path):
    truth, ids = painted((15, 15, 1))
    empty, none = painted()
    tiles = [(truth, truth, ids), (empty, empty, none)]
    assert evaluate(tmp_path, tiles, [MeanDice(SEVERAL)], datasets=["a", "b"]).metrics["mean_dice"] == 1


def test_one_dataset_has_no_file_of_datasets(tmp_path):
    truth, ids = painted((15, 15, 1))
    evaluate(tmp_path, [(truth, truth, ids)], [MeanDice(SEVERAL), ScoreTable(tmp_path / "out")])
    assert not (tmp_path / "out" / "scores_by_dataset.csv").exists()


def test_nuclei_of_several_classes_match_one_of_them(tmp_path):
    truth, ids = painted((15, 15, EITHER), (45, 15, EITHER), (15, 45, ANY))
    guess, _ = painted((15, 15, 1), (45, 15, 2), (15, 45, 4))
    evaluate(tmp_path, [(guess, truth, ids)], [NucleusScores(tmp_path / "out", WatershedNuclei(0.25), SEVERAL)])
    scores = by_name(tmp_path / "out" / "nuclei.csv")
    assert list(scores) == [*SEVERAL.table.names[1:], "neoplastic or epithelial", "any nucleus"]
    either, of_any = scores["neoplastic or epithelial"], scores["any nucleus"]
    assert (either["nuclei"], either["predicted"]) == ("2", "1")
    assert float(either["pq"]) == pytest.approx(1 / 1.5)  # one found, one taken for inflammatory
    assert float(either["recall"]) == pytest.approx(1 / 3)  # a mistaken class counts twice
    assert float(scores["inflammatory"]["pq"]) == 0
    assert scores["neoplastic"]["pq"] == ""  # what may be right is no false positive
    assert (of_any["nuclei"], float(of_any["pq"]), float(of_any["f1"])) == ("3", 1, 1)


def test_nuclei_of_another_table_have_its_names(tmp_path):
    truth, ids = painted((15, 15, 1), (45, 15, 3))
    handlers = [NucleusScores(tmp_path, WatershedNuclei(0.25), LabelSets(OTHER)), MeanDice(LabelSets(OTHER))]
    state = evaluate(tmp_path, [(truth, truth, ids)], handlers, number=4)
    scores = json.loads((tmp_path / "nuclei.json").read_text())
    assert {name: row["pq"] for name, row in scores["classes"].items()} == {
        "class 1": 1, "class 2": None, "class 3": 1, "any nucleus": 1,
    }  # fmt: skip
    assert np.shape(scores["detection_matrix"]) == (4, 4)
    assert state.metrics["mean_dice"] == 1


def test_pixels_that_may_be_of_a_class_do_not_count_in_its_calibration():
    label = np.array([[0, 1, EITHER, ANY, 2, 255]], np.uint8)
    counts = calibration_counts(np.full((5, 1, 6), 0.5), label, SEVERAL)[:, 7]
    assert counts[0].tolist() == [3, 1.5, 1]  # neoplastic: background, itself, inflammatory
    assert counts[1].tolist() == [4, 2, 1]  # inflammatory: neoplastic or epithelial is known to be another
    assert counts[4].tolist() == [3, 1.5, 0]


def test_calibration_has_the_classes_of_another_table(tmp_path):
    truth, ids = painted((15, 15, 3))
    evaluate(tmp_path, [(truth, truth, ids)], [Calibration(tmp_path, LabelSets(OTHER))], number=4)
    written = json.loads((tmp_path / "calibration.json").read_text())["classes"]
    assert list(written) == ["class 1", "class 2", "class 3"]
    assert written["class 3"]["expected_calibration_error"] == 0


def test_the_notable_tiles_show_no_mistake_where_one_of_several_classes_is_predicted(tmp_path):
    truth, ids = painted((15, 15, EITHER), (45, 15, EITHER), (15, 45, ANY), (45, 45, ANY))
    guess, _ = painted((15, 15, 5), (45, 15, 3), (15, 45, 2))
    evaluate(tmp_path, [(guess, truth, ids)], [NotableTiles(tmp_path / "out", SEVERAL)])
    drawn = read_rgb(tmp_path / "out" / "tiles" / "worst_1.png")
    cells = [drawn[:, i * (64 + 4) : i * (64 + 4) + 64] for i in range(4)]
    black = np.zeros((*SHAPE, 3), np.uint8)
    assert np.array_equal(cells[1], draw_contours(black, truth, SEVERAL.colors))
    assert np.array_equal(cells[2], draw_contours(black, guess, SEVERAL.colors))
    known = np.select([ids == 1, ids == 2, ids == 3, ids == 4], [5, 1, 2, 1], 0).astype(np.uint8)
    assert np.array_equal(cells[3], draw_mistakes(black, known, guess))
    assert tuple(cells[3][15, 15]) == tuple(cells[3][45, 15]) == (128, 128, 128)
    assert tuple(cells[3][15, 45]) == MISTAKES["of another class"]
    assert tuple(cells[3][45, 45]) == MISTAKES["missed"]


@pytest.mark.parametrize("labels", [SEVERAL, LabelSets(OTHER, ((1, 3),))], ids=["PanNuke's", "another"])
def test_overlays_have_the_colours_of_the_labels(tmp_path, labels):
    truth, ids = painted((15, 15, len(labels) - 1))
    guess, _ = painted((15, 15, 3))
    evaluate(tmp_path, [(guess, truth, ids)], [OverlaySheet(tmp_path, labels)], number=len(labels.table))
    sheet = read_rgb(tmp_path / "overlay_001.png")
    cells = [{tuple(map(int, c)) for c in sheet[:64, left : left + 64].reshape(-1, 3)} for left in (68, 136)]
    lines = (labels.colors[-1], labels.table.classes[3].color)
    assert cells == [{(0, 0, 0), line, halo_color(line)} for line in lines]


def test_predictions_have_the_classes_of_another_table(tmp_path):
    classes, ids = painted((15, 15, 1), (45, 15, 3), (15, 45, 3))
    image = MetaTensor(torch.zeros(3, *SHAPE), meta={"filename_or_obj": str(tmp_path / "a.png"), SIZE: [64, 64]})
    item = {"image": image, "pred": MetaTensor(torch.from_numpy(classes)[None]), "probs": probs_of(classes, 4)}
    writer = PredictionWriter(tmp_path, class_table=OTHER, finder=FoundNuclei(min_area_um2=0))
    writer.write(
        SimpleNamespace(
            state=SimpleNamespace(batch=[{PIXELS: torch.full((3, *SHAPE), 200, dtype=torch.uint8)}], output=[item])
        )
    )
    writer.write_summary()
    (row,) = rows(tmp_path / "summary.csv")
    area = np.count_nonzero(ids == 1)
    assert [row[name] for name in OTHER.names] == [str(64 * 64 - 3 * area), str(area), "0", str(2 * area)]
    assert [row[f"class {i} nuclei"] for i in (1, 2, 3)] == ["1", "0", "2"]
    assert np.array_equal(read_class_map(tmp_path / "a_classes.png", 4), classes)
    features = json.loads((tmp_path / "a_nuclei.geojson").read_text())["features"]
    assert sorted(feature["properties"]["classification"]["name"] for feature in features) == [
        "class 1", "class 3", "class 3",
    ]  # fmt: skip
    colors = {tuple(map(int, c)) for c in read_rgb(tmp_path / "a_overlay.png")[:64, :64].reshape(-1, 3)}
    lines = {OTHER.classes[1].color, OTHER.classes[3].color}
    assert colors == {(200, 200, 200), *lines, *map(halo_color, lines)}
