"""Preparing a fold of PanNuke's true size, and loading it: time, memory, size."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from tqdm import tqdm

from benchmarks.measurement import milliseconds_in_turn
from benchmarks.networks import build_training, read_config, training_step
from monch_monai.class_table import PANNUKE
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.tissues import TISSUES


def print_preparation(folder: Path, tiles: int = 2656) -> None:
    """Time, memory and size of preparing a fold of PanNuke's size, and of its first batch against `np.load`'s.

    Args:
        folder: where 14 GB may be written; a fold made earlier is used again.
        tiles: in the fold.
    """
    source, out = folder / "source", folder / "prepared"
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
    batches = {"np.load": lambda: _first_batch_of_arrays(arrays), "prepared": lambda: next(iter(_loader(out, 16)))}
    for name, first in batches.items():
        start = time.perf_counter()
        first()
        print(f"first batch of 16, {name}: {time.perf_counter() - start:.2f} s")
    _print_loader_beside_step(out)


def _write_synthetic_fold(source: Path, count: int) -> None:
    channels = {"images/fold1/images.npy": 3, "masks/fold1/masks.npy": len(PANNUKE)}
    maps = []
    for name, number in channels.items():
        path = source / "Fold 1" / name
        path.parent.mkdir(parents=True)
        maps.append(np.lib.format.open_memmap(path, "w+", np.float64, (count, 256, 256, number)))
    images, masks = maps
    kinds = [synthetic_tile(np.random.default_rng(i), nuclei=24) for i in range(64)]
    for i in tqdm(range(count), desc="writing a fold of PanNuke's size"):
        tile = kinds[i % len(kinds)]
        images[i] = np.roll(tile.image, i, axis=1)
        for c in range(len(PANNUKE)):
            masks[i, ..., c - 1] = np.roll(tile.instances * (tile.classes == c) if c else tile.classes == 0, i, axis=1)
    np.save(source / "Fold 1" / "images/fold1/types.npy", np.array([TISSUES[i % len(TISSUES)] for i in range(count)]))


def _first_batch_of_arrays(arrays: list[Path]) -> torch.Tensor:
    images, masks = (np.load(path) for path in arrays)
    classes = masks[:16, ..., :-1].argmax(-1) + 1
    return torch.from_numpy(images[:16]).float() + torch.from_numpy(classes)[..., None]


def _print_loader_beside_step(dataset: Path, tiles: int = 64) -> None:
    """Tiles a second of the augmenting loader alone, in one process, and of training steps of batch 4."""
    start, count = time.perf_counter(), 0
    for batch in _loader(dataset, 4):
        count += len(batch["image"])
        if count >= tiles:
            break
    loading = count / (time.perf_counter() - start)
    network, loss, optimizer, *_ = build_training("cpu")
    labels = batch["label"].as_tensor()
    step = training_step(network.train(), batch["image"].as_tensor(), optimizer, lambda logits: loss(logits, labels))
    training = len(labels) / milliseconds_in_turn({"": step}, "cpu", runs=5, warm_up=0)[""] * 1e3
    print(f"loader alone {loading:.1f} tiles/s, training {training:.2f} tiles/s: {loading / training:.0f}x")


def _loader(dataset: Path, batch_size: int) -> Iterable[dict[str, MetaTensor]]:
    parser = read_config("cpu")
    parser.update({"dataset_dir": str(dataset), "batch_size": batch_size})
    parser["train#dataset#data"] = "$@tiles.items(['fold1'])"
    parser["train#dataloader#sampler#folds"] = ["fold1"]
    return parser.get_parsed_content("train#dataloader")
