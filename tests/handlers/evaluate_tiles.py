"""Evaluates synthetic tiles by MONAI's evaluator; under torchrun: `evaluate_tiles.py DATASET OUTPUT_DIR`.

For `test_evaluation.py`. Five tiles on two processes: the sampler fills up with a tile that is there already.
"""

import sys

import ignite.distributed as idist
import torch
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monch_monai.data import ClassMapReader, RGBReader, TileLabels, Tiles
from monch_monai.handlers import MeanDice, NucleusScores, ScoreTable
from monch_monai.nuclei import WatershedNuclei
from monch_monai.predict import ClassMapd


class Colours(torch.nn.Module):
    """Logits that follow from the pixels alone."""

    def forward(self, image):
        weights = torch.arange(18.0).reshape(6, 3, 1, 1) % 7 - 3
        return torch.nn.functional.conv2d(image / 255 - 0.6, weights)


def main(dataset_dir, output_dir, network=None):
    tiles = Tiles(dataset_dir)
    labels = TileLabels(tiles, tiles.class_table)
    transform = Compose([
        LoadImaged("image", reader=RGBReader()),
        LoadImaged("label", reader=ClassMapReader(labels)),
        EnsureChannelFirstd(["image", "label"]),
    ])  # fmt: skip
    dataset = Dataset(tiles.items(tiles.split(1, "validation")), transform)
    sampler = DistributedSampler(dataset, shuffle=False) if idist.get_world_size() > 1 else None
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(dataset, batch_size=2, sampler=sampler),
        network=network or Colours(),
        postprocessing=ClassMapd("pred", probs_key="probs"),
        key_val_metric={"mean_dice": MeanDice(labels.sets)},
        val_handlers=[ScoreTable(output_dir), NucleusScores(output_dir, WatershedNuclei(0.25), labels.sets)],
    )
    evaluator.run()
    return evaluator.state.metrics["mean_dice"]


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    print(f"mean_dice {main(*sys.argv[1:])!r}", flush=True)
    torch.distributed.destroy_process_group()
