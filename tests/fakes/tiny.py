"""A dataset of two folds of tiny random tiles."""

from functools import partial

import numpy as np

from monch_monai.data import Fold, Tile, write_tiles

SIZE = 16
SPLITS = {"1": {"train": ["a"], "validation": ["b"]}, "2": {"train": ["b"], "validation": ["a"], "test": ["a", "b"]}}
SEEDS = {"a": range(2), "b": range(10, 13)}


def tile(seed, size=SIZE):
    rng = np.random.default_rng(seed)
    return Tile(
        rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        rng.integers(0, 6, (size, size), dtype=np.uint8),
        rng.integers(0, 65536, (size, size), dtype=np.uint16),
        f"tissue {seed}",
        f'slide {seed}, "left", µ',
        {"torn": seed},
    )


def fold_of(seeds, size=SIZE):
    return Fold(len(seeds), lambda start: map(partial(tile, size=size), seeds[start:]), size)


def write(folder, **changes):
    folds = {name: fold_of(seeds) for name, seeds in SEEDS.items()}
    write_tiles(folder, **({"folds": folds, "splits": SPLITS, "name": "two folds"} | changes))
    return folder


def contents(folder):
    """Bytes of each file under a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
