"""H&E-like tiles with exact labels, made by code: for tests and for trying a machine without tissue."""

from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.draw import ellipse

from monch_monai.class_table import PANNUKE, ClassTable, Vocabulary
from monch_monai.data.tiles import Tile
from monch_monai.data.writer import Fold, write_tiles
from monch_monai.tissues import TISSUES

LOOKS = {
    "neoplastic": ((17, 13), (108, 60, 142), 22),
    "inflammatory": ((7, 7), (48, 30, 100), 6),
    "connective": ((20, 5), (120, 70, 150), 6),
    "dead": ((5, 4), (70, 20, 60), 2),
    "epithelial": ((11, 9), (150, 120, 185), 8),
}
"""Half axes in pixels at 0.25 µm/px, colour, and roughness of the chromatin (standard deviation, 0-255)."""
STROMA = (232, 180, 208)


def synthetic_tile(
    rng: np.random.Generator, size: int = 256, nuclei: int = 20, class_table: ClassTable = PANNUKE
) -> Tile:
    """One tile with `nuclei` nuclei, the classes in turn, each a filled ellipse that touches no other.

    A class that is none of `LOOKS` has a look of its own by its place in the table. Fewer are placed where room is
    short. Instance ids count up in the order of placement.
    """
    image = np.full((size, size, 3), STROMA, dtype=np.float64)
    image += gaussian_filter(rng.normal(size=(size, size)), 6)[..., None] * 120
    classes, instances = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint16)
    placed = 0
    for attempt in range(nuclei * 8):
        if placed == nuclei:
            break
        nucleus = class_table.nuclei[attempt % len(class_table.nuclei)]
        axes, color, roughness = LOOKS.get(nucleus.name) or _look(nucleus.index)
        y, x = rng.uniform(0, size, 2)
        angle, scale = rng.uniform(0, np.pi), rng.uniform(0.85, 1.15)
        around = ellipse(y, x, axes[0] * scale + 2, axes[1] * scale + 2, (size, size), angle)
        inside = ellipse(y, x, axes[0] * scale, axes[1] * scale, (size, size), angle)
        if inside[0].size == 0 or instances[around].any():
            continue
        placed += 1
        classes[inside], instances[inside] = nucleus.index, placed
        image[inside] = np.asarray(color) + rng.normal(0, roughness, (inside[0].size, 1))
    image += rng.normal(0, 3, image.shape)
    pixels: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return Tile(pixels, classes, instances, TISSUES[int(rng.integers(len(TISSUES)))], "synthetic")


def _look(index: int) -> tuple[tuple[int, int], tuple[int, int, int], int]:
    """Half axes, colour and roughness of the nuclei of the class of an index, unlike those of its neighbours."""
    rng = np.random.default_rng(index)
    long, short = int(rng.integers(6, 18)), int(rng.integers(5, 12))
    red, green, blue = (int(rng.integers(low, low + 90)) for low in (40, 30, 90))
    return (long, short), (red, green, blue), int(rng.integers(2, 20))


def write_synthetic(
    dataset_dir: str | Path,
    train: int = 8,
    validation: int = 4,
    tile_size: int = 256,
    seed: int = 0,
    class_table: ClassTable = PANNUKE,
) -> None:
    """Writes a prepared dataset (`monch_monai.data.tiles`) of synthetic tiles, the same for the same seed."""
    counts = {"train": train, "validation": validation}

    def tiles(fold: int, start: int) -> Iterator[Tile]:
        rng = np.random.default_rng([seed, fold])
        return islice(
            (synthetic_tile(rng, tile_size, class_table=class_table) for _ in count()),
            start,
            list(counts.values())[fold],
        )

    write_tiles(
        dataset_dir,
        {name: Fold(n, partial(tiles, fold), tile_size) for fold, (name, n) in enumerate(counts.items())},
        splits={"1": {"train": ["train"], "validation": ["validation"]}},
        vocabulary=Vocabulary.of_table(class_table),
        name="synthetic",
        source=f"monch_monai.datasets.synthetic, seed {seed}",
        license="Apache-2.0",
        labels="exact by construction",
    )
