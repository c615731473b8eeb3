"""Claims measured by hand: `python scripts/prove.py --help`.

On the sample of real tissue, `learns` compares trained runs with a stain threshold, and `overfits` shows that the
network can fit a few tiles. `imitate_pannuke` writes real tissue in PanNuke's file formats, and `prepares` measures
preparation and loading of a fold of PanNuke's true size.
"""

import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from fire import Fire
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.class_map import class_map

from monch_monai.classes import TISSUES
from monch_monai.data import Tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets import open_tiles
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.encoders import ClipResNet50
from monch_monai.losses import PerClassBCE
from monch_monai.metrics import confusion_matrix, mean_dice, score_rows
from monch_monai.networks import Monch, initialise_weights, load_checkpoint

SAMPLE = Path(__file__).resolve().parents[1] / "bundle" / "sample" / "hgsc"
MEAN, STD = ClipResNet50.mean, ClipResNet50.std


def learns(*checkpoints: str) -> None:
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
        network = Monch(ClipResNet50())
        load_checkpoint(network, path)
        predicted = _predict(network, images)
        scores = {row.name: row.dice for row in score_rows(confusion_matrix(predicted, torch.from_numpy(truth)))}
        print(f"{path}   " + "  ".join(f"{name} {dice:.4f}" for name, dice in scores.items()))


def overfits(tiles: int = 4, steps: int = 400, learning_rate: float = 1e-3, seed: int = 0) -> None:
    """Mean Dice of the classes present, on the training tiles themselves, as training on a few of them goes on.

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
    network = Monch(ClipResNet50()).to(memory_format=torch.channels_last)
    initialise_weights(network, "none")
    loss = PerClassBCE()
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    for step in range(1, steps + 1):
        if step == round(0.75 * steps):
            optimizer.param_groups[0]["lr"] *= 0.1
        network.train()
        value = loss(network(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step % 20 == 0:
            matrix = confusion_matrix(_predict(network, images[chosen]), y[:, 0])
            print(f"step {step:4d}  loss {value.item():.4f}  mean Dice {mean_dice(matrix):.4f}", flush=True)


def imitate_pannuke(dataset_dir: str, out: str, zips: bool = False) -> None:
    """Writes a prepared dataset's 256x256 tiles as three folds of float64 arrays, as PanNuke is published.

    Whole fields go to one fold (a tile's source names its field first). Nuclei that are not to be counted are left out.

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
        masks = np.zeros((len(here), 256, 256, 6))
        for mask, tile in zip(masks, here, strict=True):
            for c in range(1, 6):
                mask[..., c - 1] = np.where(tile.classes == c, tile.instances, 0)
            mask[..., 5] = tile.classes == 0
        root, middle = Path(out), f"fold{number}"
        arrays = {
            f"Fold {number}/images/{middle}/images.npy": np.stack([tile.image for tile in here]).astype(np.float64),
            f"Fold {number}/images/{middle}/types.npy": np.array([tile.tissue for tile in here]),
            f"Fold {number}/masks/{middle}/masks.npy": masks,
        }
        for name, array in arrays.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
        if zips:
            with zipfile.ZipFile(root / f"fold_{number}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name in arrays:
                    archive.write(root / name, name)
            shutil.rmtree(root / f"Fold {number}")
        print(f"fold {number}: {len(here)} tiles of {len(fields[number - 1 :: 3])} fields")


def prepares(folder: str, tiles: int = 2656) -> None:
    """Time, memory and size of preparing a fold of PanNuke's size, and of its first batch against `np.load`'s.

    Args:
        folder: where 14 GB may be written; a fold made earlier is used again.
        tiles: in the fold.
    """
    source, out = Path(folder) / "source", Path(folder) / "prepared"
    arrays = [source / "Fold 1" / p for p in ("images/fold1/images.npy", "masks/fold1/masks.npy")]
    if not arrays[1].exists():
        _write_synthetic_fold(source, tiles)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "monch_monai", "prepare_pannuke", str(source), str(out)]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit("preparation failed")
    print(f"preparation: {time.perf_counter() - start:.0f} s, peak anonymous memory {peak / 2**10:.0f} MiB")
    sizes = [sum(p.stat().st_size for p in paths) for paths in (arrays, (out / "fold1").iterdir())]
    print(f"size: {sizes[0]:,} to {sizes[1]:,} bytes, {sizes[0] / sizes[1]:.3f}x smaller")
    for name, first in (("np.load", lambda: _first_batch_of_arrays(arrays)), ("prepared", lambda: _first_batch(out))):
        start = time.perf_counter()
        first()
        print(f"first batch of 16, {name}: {time.perf_counter() - start:.2f} s")
    _loader_beside_step(out)


def _write_synthetic_fold(source: Path, count: int) -> None:
    shapes = {"images/fold1/images.npy": (count, 256, 256, 3), "masks/fold1/masks.npy": (count, 256, 256, 6)}
    maps = []
    for name, shape in shapes.items():
        path = source / "Fold 1" / name
        path.parent.mkdir(parents=True)
        maps.append(np.lib.format.open_memmap(path, "w+", np.float64, shape))
    images, masks = maps
    kinds = [synthetic_tile(np.random.default_rng(i), nuclei=24) for i in range(64)]
    for i in tqdm(range(count), desc="writing a fold of PanNuke's size"):
        tile = kinds[i % len(kinds)]
        images[i] = np.roll(tile.image, i, axis=1)
        for c in range(6):
            masks[i, ..., c - 1] = np.roll(tile.instances * (tile.classes == c) if c else tile.classes == 0, i, axis=1)
    np.save(source / "Fold 1" / "images/fold1/types.npy", np.array([TISSUES[i % 19] for i in range(count)]))


def _first_batch_of_arrays(arrays: list[Path]) -> torch.Tensor:
    images, masks = (np.load(path) for path in arrays)
    classes = masks[:16, ..., :5].argmax(-1) + 1
    return torch.from_numpy(images[:16]).float() + torch.from_numpy(classes)[..., None]


def _first_batch(dataset: Path) -> object:
    return next(iter(_loader(dataset, 16)))


def _loader_beside_step(dataset: Path, tiles: int = 64) -> None:
    """Tiles a second of the augmenting loader alone, in one process, and of training steps of batch 4."""
    start, count = time.perf_counter(), 0
    for batch in _loader(dataset, 4):
        count += len(batch["image"])
        if count >= tiles:
            break
    loading = count / (time.perf_counter() - start)
    network = Monch(ClipResNet50()).to(memory_format=torch.channels_last)
    initialise_weights(network, "none")
    optimizer, loss = torch.optim.Adam(network.parameters()), PerClassBCE()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        loss(network(batch["image"].as_tensor()), batch["label"].as_tensor()).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    training = len(batch["image"]) / sorted(seconds)[2]
    print(f"loader alone {loading:.1f} tiles/s, training {training:.2f} tiles/s: {loading / training:.0f}x")


def _loader(dataset: Path, batch_size: int) -> Iterable[dict[str, MetaTensor]]:
    parser = ConfigParser(ConfigParser.load_config_file(SAMPLE.parents[1] / "configs" / "train.json"))
    parser.update({"dataset_dir": str(dataset), "device": "cpu", "batch_size": batch_size})
    parser["train#dataset#data"] = "$@tiles.items(['fold1'])"
    parser["train#dataloader#sampler#folds"] = ["fold1"]
    loader: Iterable[dict[str, MetaTensor]] = parser.get_parsed_content("train#dataloader")
    return loader


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
    claims = {"learns": learns, "overfits": overfits, "imitate_pannuke": imitate_pannuke, "prepares": prepares}
    Fire(claims, name="prove.py")
