import csv
import json
import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.errors import InputError
from monch_monai.handlers import NucleusScores
from monch_monai.nuclei import WatershedNuclei
from tests.fakes.labels import PLAIN
from tests.fakes.nuclei import disc

SHAPE = (64, 64)


def painted(*discs):
    """Class map and instance map of discs (x, y, class)."""
    classes, ids = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint16)
    for i, (x, y, c) in enumerate(discs, start=1):
        mask = disc(SHAPE, x, y, 7)
        classes[mask], ids[mask] = c, i
    return classes, ids


def evaluate(folder, tiles, repeat=()):
    """Scores of tiles (predicted class map, true class map, true instance map), some of them seen again."""
    np.save(folder / "instances.npy", np.stack([ids for _, _, ids in tiles]))

    def step(engine, i):
        pred, label, _ = tiles[i]
        image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": f"images.npy#{i}"})
        probs = torch.stack([torch.from_numpy(np.equal(pred, c)) for c in range(1, 6)]).half()
        engine.state.batch = [{"instances": f"{folder / 'instances.npy'}#{i}", "tissue": ("Skin", "Lung")[i % 2]}]
        return [
            {
                "image": image,
                "pred": torch.from_numpy(pred)[None],
                "label": torch.from_numpy(label)[None],
                "probs": probs,
            }
        ]

    evaluator = Engine(step)
    NucleusScores(folder / "out", WatershedNuclei(0.25), PLAIN).attach(evaluator)
    evaluator.run([*range(len(tiles)), *repeat])
    with (folder / "out" / "nuclei.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    return rows, json.loads((folder / "out" / "nuclei.json").read_text())


def test_a_perfect_prediction_scores_one(tmp_path):
    classes, ids = painted((15, 15, 1), (45, 15, 5), (15, 45, 2))
    rows, scores = evaluate(tmp_path, [(classes, classes, ids)])
    for name in ("mpq", "bpq", "mpq_strict", "bpq_strict", "mpq_plus", "bpq_plus"):
        assert scores[name] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert rows["any nucleus"]["f1"] == "1.0"
    assert (rows["dead"]["pq"], rows["dead"]["f1"], rows["dead"]["nuclei"]) == ("", "", "0")
    assert scores["classes"]["dead"]["pq"] is None
    assert scores["classes"]["epithelial"]["pq"] == 1


def test_a_missed_and_a_mistyped_nucleus(tmp_path):
    truth, ids = painted((15, 15, 1), (45, 15, 1), (15, 45, 2))
    guess, _ = painted((15, 15, 1), (15, 45, 1))
    rows, scores = evaluate(tmp_path, [(guess, truth, ids)])
    assert float(rows["any nucleus"]["pq"]) == pytest.approx(2 / 2.5)
    assert float(rows["neoplastic"]["pq"]) == pytest.approx(1 / 2)
    assert float(rows["inflammatory"]["pq"]) == 0
    assert float(rows["neoplastic"]["f1"]) == pytest.approx(2 / (2 + 2 + 1))
    assert np.array(scores["detection_matrix"])[[1, 1, 2], [1, 0, 1]].tolist() == [1, 1, 1]


def test_ignored_nuclei_count_neither_as_missed_nor_as_found(tmp_path):
    truth, ids = painted((15, 15, 1), (45, 15, 255), (15, 45, 255))
    guess, _ = painted((15, 15, 1), (45, 15, 3))
    rows, _ = evaluate(tmp_path, [(guess, truth, ids)])
    assert (rows["any nucleus"]["pq"], rows["any nucleus"]["nuclei"], rows["any nucleus"]["predicted"]) == (
        "1.0",
        "1",
        "1",
    )


def test_a_tile_seen_twice_counts_once(tmp_path):
    truth, ids = painted((15, 15, 1), (45, 15, 1))
    half, _ = painted((15, 15, 1))
    tiles = [(truth, truth, ids), (half, truth, ids)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert evaluate(tmp_path / "a", tiles) == evaluate(tmp_path / "b", tiles, repeat=[1, 0, 1])


def test_organs_have_their_own_rows(tmp_path):
    truth, ids = painted((15, 15, 1), (45, 15, 1))
    half, _ = painted((15, 15, 1))
    evaluate(tmp_path, [(truth, truth, ids), (half, truth, ids)])
    with (tmp_path / "out" / "nuclei_by_organ.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["organ"], float(row["mpq"])) for row in rows] == [("Lung", pytest.approx(1 / 1.5)), ("Skin", 1)]


def test_tiles_without_nuclei_have_no_score(tmp_path):
    classes, ids = painted()
    rows, scores = evaluate(tmp_path, [(classes, classes, ids)])
    assert scores["mpq"] == {"value": None, "low": None, "high": None}
    assert rows["any nucleus"]["pq"] == ""
    assert not math.isnan(scores["images"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda label, ids: (label[:, :60], ids), r"instance map is \[64, 64\], class map \[64, 60\]"),
        (lambda label, ids: (np.where(label == 1, 9, label).astype(np.uint8), ids), "class map holds 9"),
        (lambda label, ids: (np.zeros_like(label), ids), "nucleus 1 has no pixel of a nucleus class"),
    ],
    ids=["another size", "unknown class", "nucleus without a class"],
)
def test_what_does_not_belong_together_is_refused_in_one_line_that_names_the_tile(tmp_path, change, problem):
    truth, ids = painted((15, 15, 1))
    label, ids = change(truth, ids)
    with pytest.raises(InputError, match=rf"^images.npy#0: {problem}.*; check the tile's labels") as caught:
        evaluate(tmp_path, [(truth, label, ids)])
    assert "\n" not in str(caught.value)
