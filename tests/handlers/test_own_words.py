import json

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.class_table.words_file import Wording
from monch_monai.data import ClassMapReader, RGBReader, TileLabels, Tiles
from monch_monai.datasets import write_synthetic
from monch_monai.handlers import MeanDice, OwnWords
from monch_monai.networks.rewording import Rewording, WordCost
from monch_monai.predict import ClassMapd

EACH = tuple((name,) for name in PANNUKE.names)
"""Each class is made of itself."""


class Always(nn.Module):
    """Every pixel is of one class."""

    class_table = PANNUKE

    def __init__(self, name):
        super().__init__()
        self.index, self.weight = PANNUKE.names.index(name), nn.Parameter(torch.zeros(1))

    def forward(self, image):
        logits = torch.full((len(image), len(PANNUKE), *image.shape[-2:]), -9.0)
        logits[:, self.index] = 9
        return logits + self.weight


def evaluate(folder, rewording):
    write_synthetic(folder / "data", 1, 2, 64)
    tiles = Tiles(folder / "data")
    labels = TileLabels(tiles, PANNUKE)
    transform = Compose([
        LoadImaged("image", reader=RGBReader()),
        LoadImaged("label", reader=ClassMapReader(labels)),
        EnsureChannelFirstd(["image", "label"]),
    ])  # fmt: skip
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(tiles.items(["validation"]), transform), batch_size=2),
        network=rewording.network,
        postprocessing=ClassMapd("pred"),
        key_val_metric={"mean_dice": MeanDice(labels.sets)},
        val_handlers=[OwnWords(folder / "out", rewording, lambda image, network: network(image), labels)],
    )
    evaluator.run()
    return folder / "out" / "words.json"


def test_scores_by_both_words_are_written(tmp_path):
    cost = WordCost("dead", 0.5, "A dead cell.", "dead")
    rewording = Rewording(Always("dead"), Always("neoplastic"), Wording(PANNUKE, PANNUKE, EACH), [cost])
    found = json.loads(evaluate(tmp_path, rewording).read_text())
    assert found["own"]["neoplastic"] > 0
    assert found["words"]["neoplastic"] == 0
    assert found["own"]["dead"] == 0
    assert found["words"]["dead"] > 0
    assert found["own"]["any nucleus"] == pytest.approx(found["words"]["any nucleus"])
    assert found["costs"]["dead"] == {"name": "dead", "cosine": 0.5, "nearest": "A dead cell.", "of": "dead"}


def test_without_other_words_nothing_is_written(tmp_path):
    assert not evaluate(tmp_path, Rewording(Always("dead"))).exists()
