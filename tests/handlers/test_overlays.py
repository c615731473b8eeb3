import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.data.images import read_rgb
from monch_monai.handlers import OverlaySheet
from monch_monai.legend import with_legend
from monch_monai.overlay import draw_contours
from tests.fakes.labels import PLAIN

SIZE = 32


def dataset(folder, count):
    """Tiles of one grey level each, the tile's number, and class maps with a square of one class."""
    images = np.stack([np.full((SIZE, SIZE, 3), 10 * i, dtype=np.uint8) for i in range(count)])
    np.save(folder / "images.npy", images)
    label, pred = np.zeros((2, SIZE, SIZE), dtype=np.uint8)
    label[4:20, 4:20], pred[8:24, 8:24] = 1, 2
    items = [
        {
            "image": MetaTensor(torch.zeros(3, SIZE, SIZE), meta={"filename_or_obj": f"{folder}/images.npy#{i}"}),
            "label": MetaTensor(torch.from_numpy(label)[None]),
            "pred": MetaTensor(torch.from_numpy(pred)[None]),
        }
        for i in range(count)
    ]
    return items, images, label, pred


class Batches:
    """What ignite keeps as the data loader: batches, and the set they are of."""

    def __init__(self, items, batch_size):
        self.dataset = items
        self.batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def draw(tmp_path, count, num_tiles, batch_size=2, epochs=1, **settings):
    items, images, label, pred = dataset(tmp_path, count)
    evaluator = Engine(lambda engine, batch: batch)
    OverlaySheet(tmp_path / "sheets", PLAIN, num_tiles=num_tiles, **settings).attach(evaluator)
    evaluator.run(Batches(items, batch_size), max_epochs=epochs)
    return images, label, pred


def grey_of_rows(sheet, rows):
    """Grey levels of the rows of a sheet, beneath which is only the legend."""
    assert np.array_equal(sheet, with_legend(sheet[: rows * (SIZE + 4), : 3 * SIZE + 8], PLAIN.table, 0.25))
    return sheet[: rows * (SIZE + 4) : SIZE + 4, 0, 0].tolist()


def test_a_row_is_image_truth_and_prediction(tmp_path):
    images, label, pred = draw(tmp_path, count=1, num_tiles=1)
    sheet = read_rgb(tmp_path / "sheets" / "overlay_001.png")
    row = sheet[: SIZE + 4, : 3 * SIZE + 8]
    assert np.array_equal(sheet, with_legend(row, PLAIN.table, 0.25))
    sheet = row
    assert np.array_equal(sheet[:SIZE, :SIZE], images[0])
    assert np.array_equal(sheet[:SIZE, SIZE + 4 : 2 * SIZE + 4], draw_contours(images[0], label, PLAIN.colors))
    assert np.array_equal(sheet[:SIZE, 2 * SIZE + 8 :], draw_contours(images[0], pred, PLAIN.colors))
    assert (sheet[SIZE:] == 255).all()
    assert (sheet[:, SIZE : SIZE + 4] == 255).all()


@pytest.mark.parametrize(
    ("count", "num_tiles", "chosen"), [(9, 3, [0, 4, 8]), (2, 6, [0, 1]), (5, 5, [0, 1, 2, 3, 4]), (7, 1, [0])]
)
def test_tiles_are_spread_evenly_over_the_set(tmp_path, count, num_tiles, chosen):
    draw(tmp_path, count, num_tiles)
    found = grey_of_rows(read_rgb(tmp_path / "sheets" / "overlay_001.png"), len(chosen))
    assert found == [10 * i for i in chosen]


def test_batches_do_not_change_the_sheet(tmp_path):
    sheets = []
    for batch_size in (1, 4):
        draw(tmp_path, count=9, num_tiles=3, batch_size=batch_size)
        sheets.append(read_rgb(tmp_path / "sheets" / "overlay_001.png"))
    assert np.array_equal(*sheets)


def test_rows_of_smaller_tiles_end_in_white(tmp_path):
    items = []
    for size, name in ((SIZE, "a"), (SIZE // 2, "b")):
        folder = tmp_path / name
        folder.mkdir()
        (item,), _, _, _ = dataset(folder, 1)
        np.save(folder / "images.npy", np.zeros((1, size, size, 3), dtype=np.uint8))
        for key in ("label", "pred"):
            item[key] = item[key][:, :size, :size]
        items.append(item)
    evaluator = Engine(lambda engine, batch: batch)
    OverlaySheet(tmp_path, PLAIN).attach(evaluator)
    evaluator.run(Batches(items, 1))
    sheet = read_rgb(tmp_path / "overlay_001.png")
    rows = sheet[: SIZE + SIZE // 2 + 8, : 3 * SIZE + 8]
    assert np.array_equal(sheet, with_legend(rows, PLAIN.table, 0.25))
    assert (rows[SIZE + 4 :, 3 * (SIZE // 2) + 8 :] == 255).all()


def test_each_epoch_has_a_sheet_of_its_own(tmp_path):
    draw(tmp_path, count=3, num_tiles=2, epochs=2)
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["overlay_001.png", "overlay_002.png"]
    assert len(grey_of_rows(read_rgb(tmp_path / "sheets" / "overlay_002.png"), 2)) == 2


def test_the_summary_writer_gets_the_sheet(tmp_path):
    class Writer:
        def __init__(self):
            self.got = []

        def add_image(self, *args, **settings):
            self.got.append((args, settings))

    writer = Writer()
    draw(tmp_path, count=2, num_tiles=2, summary_writer=writer)
    (((tag, sheet, epoch), settings),) = writer.got
    assert (tag, epoch, settings) == ("overlay", 1, {"dataformats": "HWC"})
    assert np.array_equal(sheet, read_rgb(tmp_path / "sheets" / "overlay_001.png"))
