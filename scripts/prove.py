"""Claims measured by hand: `python scripts/prove.py --help`.

On the sample of real tissue, `learns` compares trained runs with a stain threshold, and `overfits` shows that the
network can fit a few tiles. `imitate_pannuke` writes real tissue in PanNuke's file formats.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.networks import build_network, build_training, training_step
from monch_monai.arguments import run
from monch_monai.data import Tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets import open_tiles
from monch_monai.encoders import ClipResNet50
from monch_monai.metrics import confusion_matrix, mean_dice, score_rows
from monch_monai.networks import Monch, load_checkpoint
from monch_monai.predict import class_map
from tests.fakes.pannuke import fold_of, write_folders, write_zip

SAMPLE = Path(__file__).resolve().parents[1] / "bundle" / "sample" / "hgsc"
MEAN, STD = ClipResNet50.mean, ClipResNet50.std


def learns(*checkpoints: Path) -> None:
    """Dice of any nucleus on the sample's validation tiles: of each checkpoint, and of Otsu's threshold.

    Otsu's threshold is taken of the haematoxylin channel over all validation tiles together, which is the better of
    the two ways (tile by tile it scores less).

    Args:
        checkpoints: `best.pt` of runs with other seeds.
    """
    images, truth = _fold("validation")
    haematoxylin = np.stack([rgb2hed(image)[..., 0] for image in images])
    print(f"Otsu over all tiles   {_dice(haematoxylin > threshold_otsu(haematoxylin), truth > 0):.4f}")
    by_tile = np.stack([channel > threshold_otsu(channel) for channel in haematoxylin])
    print(f"Otsu tile by tile     {_dice(by_tile, truth > 0):.4f}")
    for path in checkpoints:
        network = build_network()
        load_checkpoint(network, path)
        predicted = _predict(network, images)
        scores = {row.name: row.dice for row in score_rows(confusion_matrix(predicted, torch.from_numpy(truth)))}
        print(f"{path}   " + "  ".join(f"{name} {dice:.4f}" for name, dice in scores.items()))


def overfits(tiles: int = 4, steps: int = 400, learning_rate: float = 1e-3, seed: int = 0) -> None:
    """Mean Dice of the classes present, on the training tiles themselves, every 20 steps of training on a few of them.

    Args:
        tiles: how many, spread over the sample's training tiles.
        steps: of Adam, all tiles in each; the learning rate drops to a tenth for the last quarter.
        learning_rate: to start with.
        seed: of the network's first weights.
    """
    torch.manual_seed(seed)
    images, truth = _fold("train")
    chosen = np.linspace(0, len(images) - 1, tiles + 2).round().astype(int)[1:-1]
    x, y = _normalised(images[chosen]), torch.from_numpy(truth[chosen])[:, None]
    network, loss, *_ = build_training("cpu")
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    fit = training_step(network, x, optimizer, lambda logits: loss(logits, y))
    for step in range(1, steps + 1):
        if step == round(0.75 * steps):
            optimizer.param_groups[0]["lr"] *= 0.1
        network.train()
        value = fit()
        if step % 20 == 0:
            matrix = confusion_matrix(_predict(network, images[chosen]), y[:, 0])
            print(f"step {step:4d}  loss {value.item():.4f}  mean Dice {mean_dice(matrix):.4f}", flush=True)


def imitate_pannuke(dataset_dir: Path, out: Path, zips: bool = False) -> None:
    """Writes a prepared dataset's 256x256 tiles as three folds of float64 arrays, as PanNuke is published.

    Whole fields go to one fold (a tile's source names its field first). Nuclei of class 255 are left out.

    Args:
        dataset_dir: prepared dataset, such as CoNSeP.
        out: folder to make.
        zips: writes `fold_1.zip` to `fold_3.zip` in place of folders.
    """
    tiles = Tiles(dataset_dir)
    folds = tiles.split("all", "train")
    chosen = [tile for fold in folds for tile in read_tiles(tiles.dir / fold)]
    fields = sorted({tile.source.split()[0] for tile in chosen})
    for number in (1, 2, 3):
        here = [tile for tile in chosen if fields.index(tile.source.split()[0]) % 3 == number - 1]
        (write_zip if zips else write_folders)(Path(out), number, fold_of(here, [tile.tissue for tile in here]))
        print(f"fold {number}: {len(here)} tiles of {len(fields[number - 1 :: 3])} fields")


def _fold(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    folder = open_tiles(None, SAMPLE).dir / name
    return np.load(folder / "images.npy"), np.load(folder / "classes.npy")


def _normalised(images: NDArray[np.uint8]) -> torch.Tensor:
    values = (images / 255 - MEAN) / STD
    return torch.from_numpy(values).float().permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _predict(network: Monch, images: NDArray[np.uint8]) -> torch.Tensor:
    network.eval()
    with torch.inference_mode():
        return torch.cat([class_map(network(_normalised(images[i : i + 4])))[:, 0] for i in range(0, len(images), 4)])


def _dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))


if __name__ == "__main__":
    claims = {"learns": learns, "overfits": overfits, "imitate_pannuke": imitate_pannuke}
    run(claims, "prove.py")
