import json

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.data.images import read_rgb
from monch_monai.handlers import NotableTiles
from monch_monai.handlers.notable import Outcome
from monch_monai.overlay import draw_contours, draw_mistakes
from tests.fakes.labels import PLAIN

SIZE = 32


def maps(found):
    """Truth with a row of 20 pixels of class 1, and a prediction of `found` of them: Dice 2 found / (20 + found)."""
    truth, pred = np.zeros((2, SIZE, SIZE), np.uint8)
    truth[8, :20], pred[8, :found] = 1, 1
    return truth, pred


EMPTY = (np.zeros((SIZE, SIZE), np.uint8),) * 2


def evaluate(folder, *tiles, batch_size=3, number=4, order=None):
    """Notable tiles of tiles (truth, prediction); returns what their list says."""
    images = np.stack([np.full((SIZE, SIZE, 3), 10 * i, np.uint8) for i in range(len(tiles))])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)

    def step(engine, indices):
        engine.state.batch = [{"tissue": f"tissue {i}", "source": f"slide {i}"} for i in indices]
        return [
            {
                "image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": f"{folder / 'images.npy'}#{i}"}),
                "label": torch.from_numpy(tiles[i][0])[None],
                "pred": torch.from_numpy(tiles[i][1])[None],
            }
            for i in indices
        ]

    evaluator = Engine(step)
    NotableTiles(folder / "out", PLAIN, number).attach(evaluator)
    order = order or list(range(len(tiles)))
    evaluator.run([order[i : i + batch_size] for i in range(0, len(order), batch_size)])
    listed = folder / "out" / "tiles" / "tiles.json"
    return json.loads(listed.read_text()) if listed.is_file() else {}


def chosen(listed):
    """Number of each tile, by its rank."""
    return {rank: int(tile["image"].rpartition("#")[2]) for rank, tile in listed.items()}


def pictures(folder):
    return sorted(path.name for path in (folder / "out" / "tiles").glob("*.png"))


def test_the_worst_and_the_best_are_chosen_in_order(tmp_path):
    listed = evaluate(tmp_path, *[maps(found) for found in (12, 4, 20, 8, 16, 0)], number=2)
    assert chosen(listed) == {"worst_1": 5, "worst_2": 1, "best_1": 2, "best_2": 4}
    assert pictures(tmp_path) == ["best_1.png", "best_2.png", "worst_1.png", "worst_2.png"]
    assert listed["worst_2"] == {
        "image": f"{tmp_path / 'images.npy'}#1", "mean_dice": pytest.approx(8 / 24), "tissue": "tissue 1",
        "source": "slide 1",
    }  # fmt: skip
    assert [listed[name]["mean_dice"] for name in ("worst_1", "best_1")] == [0, 1]


def test_four_of_each_are_drawn_unless_told(tmp_path):
    evaluate(tmp_path, *[maps(found) for found in range(12)])
    assert len(pictures(tmp_path)) == 8


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"worst_1": 0}),
        (2, {"worst_1": 0, "best_1": 1}),
        (3, {"worst_1": 0, "best_1": 2}),
        (5, {"worst_1": 0, "worst_2": 1, "best_1": 4, "best_2": 3}),
    ],
)
def test_of_few_tiles_none_is_both_worst_and_best(count, expected, tmp_path):
    assert chosen(evaluate(tmp_path, *[maps(found) for found in range(1, count + 1)])) == expected


def test_ties_are_ranked_by_name(tmp_path):
    listed = evaluate(tmp_path, *[maps(10)] * 7, number=2, batch_size=2, order=[3, 6, 0, 5, 1, 4, 2])
    assert chosen(listed) == {"worst_1": 0, "worst_2": 1, "best_1": 6, "best_2": 5}


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_do_not_change_the_choice(batch_size, tmp_path):
    tiles = [maps(found) for found in (7, 3, 19, 3, 11, 0, 19, 5, 2, 13, 19)]
    together = evaluate(tmp_path, *tiles, batch_size=len(tiles), number=3)
    drawn = {name: (tmp_path / "out" / "tiles" / name).read_bytes() for name in pictures(tmp_path)}
    assert evaluate(tmp_path, *tiles, batch_size=batch_size, number=3) == together
    assert {name: (tmp_path / "out" / "tiles" / name).read_bytes() for name in pictures(tmp_path)} == drawn


def test_no_more_tiles_are_kept_than_can_be_drawn(tmp_path):
    handler = NotableTiles(tmp_path, PLAIN, number=2)
    engine = Engine(lambda *_: None)
    for i in range(9):
        truth, pred = (torch.from_numpy(values)[None] for values in maps(i))
        image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": str(i)})
        engine.state.batch, engine.state.output = [{}], [{"image": image, "label": truth, "pred": pred}]
        handler.collect(engine)
    assert sorted(handler.records) == ["0", "1", "7", "8"]


def test_tiles_without_nuclei_are_left_out(tmp_path):
    assert chosen(evaluate(tmp_path, EMPTY, maps(5), EMPTY, maps(9))) == {"worst_1": 1, "best_1": 3}


def test_an_evaluation_without_nuclei_draws_nothing(tmp_path):
    assert evaluate(tmp_path, EMPTY, EMPTY) == {}
    assert not (tmp_path / "out").exists()


def test_the_pictures_of_an_earlier_evaluation_go(tmp_path):
    evaluate(tmp_path, *[maps(found) for found in range(8)])
    assert len(pictures(tmp_path)) == 8
    evaluate(tmp_path, maps(1), maps(2))
    assert pictures(tmp_path) == ["best_1.png", "worst_1.png"]
    assert evaluate(tmp_path, EMPTY) == {}
    assert list((tmp_path / "out" / "tiles").iterdir()) == []


def test_each_epoch_begins_anew(tmp_path):
    handler = NotableTiles(tmp_path, PLAIN)
    handler.records = {"old": Outcome(0.5, *maps(3), "Skin", "here")}
    handler.start(Engine(lambda *_: None))
    assert handler.records == {}


def test_a_picture_is_image_truth_prediction_and_mistakes(tmp_path):
    truth, pred = maps(0)
    truth[20:30, 20:30], pred[22:32, 20:30] = 3, 5
    truth[0, :4] = 255
    evaluate(tmp_path, (truth, pred))
    drawn = read_rgb(tmp_path / "out" / "tiles" / "worst_1.png")
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    shown = np.where(truth == 255, 0, truth).astype(np.uint8)
    cells = [
        image,
        draw_contours(image, shown, PLAIN.colors),
        draw_contours(image, pred, PLAIN.colors),
        draw_mistakes(image, truth, pred),
    ]
    assert drawn.shape == (SIZE, 4 * SIZE + 3 * 4, 3)
    for i, cell in enumerate(cells):
        left = i * (SIZE + 4)
        assert np.array_equal(drawn[:, left : left + SIZE], cell)
        assert (drawn[:, left + SIZE : left + SIZE + 4] == 255).all()
