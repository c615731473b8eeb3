import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.data import Fold, Tiles
from monch_monai.handlers import ComparedTiles
from monch_monai.handlers.compared_tiles import choose_tiles
from monch_monai.nuclei import WatershedNuclei
from tests.fakes.labels import PLAIN
from tests.fakes.tiny import tile, write

SIZE = 16


def labelled(seed, tissue, classes):
    """A tile of an organ with a row of 12 pixels for a nucleus of each of the classes."""
    class_map, ids = np.zeros((2, SIZE, SIZE), np.uint8)
    for number, c in enumerate(classes, start=1):
        class_map[2 * number, :12], ids[2 * number, :12] = c, number
    return tile(seed)._replace(classes=class_map, instances=ids.astype(np.uint16), tissue=tissue, remarks={})


GIVEN = [("Skin", [1]), ("Lung", []), ("Skin", [1, 1, 2]), ("Lung", [3]), ("Skin", [1, 2, 3]), ("Skin", [4, 4])]


def dataset(folder):
    tiles = [labelled(seed, *given) for seed, given in enumerate(GIVEN)]
    return Tiles(
        write(
            folder,
            folds={"a": Fold(len(tiles), lambda start: iter(tiles[start:]), SIZE)},
            splits={"1": {"train": ["a"]}},
        )
    )


def numbers(chosen):
    return [int(name.rpartition("#")[2]) for name in chosen]


def test_organs_take_turns_and_give_their_richest_tiles(tmp_path):
    tiles = dataset(tmp_path / "tiles")
    assert numbers(choose_tiles(tiles, ["a"], 3)) == [3, 4, 2]
    assert numbers(choose_tiles(tiles, ["a"])) == [3, 4, 2, 5, 0]  # the tile without nuclei is left out
    assert next(iter(choose_tiles(tiles, ["a"]).values())).startswith("Lung, slide 3")


def evaluate(tiles, folder, own_nuclei, order):
    def step(engine, indices):
        items = [tiles.items(["a"])[i] for i in indices]
        engine.state.batch = items
        outputs = []
        for i, item in zip(indices, items, strict=True):
            made = labelled(i, *GIVEN[i])
            pred = torch.from_numpy(made.classes)[None]
            probs = torch.nn.functional.one_hot(pred[0].long(), 6).permute(2, 0, 1)[1:].half()
            output = {
                "image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": item["image"]}),
                "label": pred,
                "pred": pred,
            }
            own = {"instance_map": torch.from_numpy(7 * made.instances.astype(np.int32))[None]}
            outputs.append(output | (own if own_nuclei else {"probs": probs}))
        return outputs

    evaluator = Engine(step)
    ComparedTiles(folder, tiles, ["a"], WatershedNuclei(0.25, min_area_um2=0.5), PLAIN, 3).attach(evaluator)
    evaluator.run([order[:2], order[2:]])
    return dict(np.load(folder / "compared_tiles.npz"))


def test_the_chosen_tiles_are_kept_with_the_systems_own_nuclei_or_the_watersheds(tmp_path):
    tiles = dataset(tmp_path / "tiles")
    found = evaluate(tiles, tmp_path / "found", False, [0, 1, 2, 3, 4, 5])
    own = evaluate(tiles, tmp_path / "own", True, [5, 4, 3, 2, 1, 0])
    for kept in (found, own):
        assert [name.split(",")[0] for name in kept["names"]] == ["Lung", "Skin", "Skin"]
        for row, number in enumerate([3, 4, 2]):
            made = labelled(number, *GIVEN[number])
            assert np.array_equal(kept[f"{row}_image"], made.image)
            assert np.array_equal(kept[f"{row}_truth"], made.classes)
            assert np.array_equal(kept[f"{row}_true_nuclei"], made.instances)
            assert np.array_equal(kept[f"{row}_predicted"], made.classes)
    assert np.unique(own["1_nuclei"]).tolist() == [0, 7, 14, 21]
    assert np.array_equal(own["1_nuclei"], 7 * labelled(4, *GIVEN[4]).instances)
    assert np.unique(found["1_nuclei"]).tolist() == [0, 1, 2, 3]
