"""Counts of what a dataset holds, tile by tile, and checks of it."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monch_monai.class_table import IGNORE_INDEX, Vocabulary
from monch_monai.data.tiles import IGNORED, Tile, count_tile
from monch_monai.errors import InputError

ENOUGH = 5000
"""Fewest pixels of nuclei, and of their surroundings, whose colours are compared."""


class Inventory:
    """Counts of tiles, nuclei and pixels by fold and tissue, added up one tile at a time.

    Args:
        vocabulary: the labels that tiles have.

    Attributes:
        tiles: number of tiles by `(fold, tissue)`.
        kinds: names of the labels, and `ignored`, K of them.
        nuclei: nuclei of each kind by `(fold, tissue)`, `[K]`.
        pixels: pixels of each kind by `(fold, tissue)`, `[K]`.
        empty: tiles without a nucleus, by fold.
        remarks: sums of the tiles' remarks, by fold.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.kinds = vocabulary, [*vocabulary.names, IGNORED]
        self.tiles: Counter[tuple[str, str]] = Counter()
        self.nuclei: defaultdict[tuple[str, str], NDArray[np.int64]] = defaultdict(self._zeros)
        self.pixels: defaultdict[tuple[str, str], NDArray[np.int64]] = defaultdict(self._zeros)
        self.empty: Counter[str] = Counter()
        self.remarks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._blueness: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, 2)))
        self._same: defaultdict[bytes, list[str]] = defaultdict(list)

    def add(self, fold: str, tile: Tile) -> None:
        """Counts a tile of a fold."""
        counts = count_tile(tile, self.vocabulary.names)
        place = fold, tile.tissue
        number = sum(n for (name, _), n in self.tiles.items() if name == fold)
        self.tiles[place] += 1
        self.nuclei[place] += [counts.get(f"{kind}_nuclei", 0) for kind in self.kinds]
        self.pixels[place] += [counts[f"{kind}_pixels"] for kind in self.kinds]
        self.empty[fold] += not tile.instances.any()
        self.remarks[fold].update(tile.remarks)
        blueness = tile.image[..., 2].astype(np.float64) - tile.image[..., 0]
        for row, chosen in enumerate((tile.classes == 0, (tile.classes > 0) & (tile.classes != IGNORE_INDEX))):
            self._blueness[fold][row] += blueness[chosen].sum(), np.count_nonzero(chosen)
        self._same[hashlib.blake2b(tile.image.tobytes(), digest_size=16).digest()].append(f"{fold}#{number}")

    @property
    def folds(self) -> list[str]:
        """Names of the folds, in the order of their first tiles."""
        return list(dict.fromkeys(fold for fold, _ in self.tiles))

    @property
    def tissues(self) -> list[str]:
        """Names of the tissues, sorted."""
        return sorted({tissue for _, tissue in self.tiles})

    def of_fold(self, fold: str) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """Tiles, nuclei `[K]` and pixels `[K]` of one fold."""
        return self._total([place for place in self.tiles if place[0] == fold])

    def of_tissue(self, tissue: str) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """Tiles, nuclei `[K]` and pixels `[K]` of one tissue."""
        return self._total([place for place in self.tiles if place[1] == tissue])

    def _total(self, places: list[tuple[str, str]]) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        none = self._zeros()
        nuclei, pixels = (sum((counts[place] for place in places), none) for counts in (self.nuclei, self.pixels))
        return sum(self.tiles[place] for place in places), nuclei, pixels

    def _zeros(self) -> NDArray[np.int64]:
        return np.zeros(len(self.kinds), np.int64)

    def stain_contrast(self, fold: str) -> float:
        """How much bluer nuclei are than what surrounds them: the mean of blue minus red, nuclei minus the rest.

        Haematoxylin makes it positive in RGB, and as much negative in BGR. NaN of fewer than `ENOUGH` pixels.
        """
        (around, around_count), (nuclei, nuclei_count) = self._blueness[fold]
        if min(around_count, nuclei_count) < ENOUGH:
            return float("nan")
        return float(nuclei / nuclei_count - around / around_count)

    def check_colors(self) -> None:
        """Checks that the channels of images are not swapped.

        Raises:
            InputError: the nuclei of a fold are redder than what surrounds them.
        """
        for fold in self.folds:
            contrast = self.stain_contrast(fold)
            if contrast < 0:
                found = f"nuclei are redder than what surrounds them (blue minus red: {contrast:+.1f})"
                raise InputError(f"{fold}: {found}, which in H&E they never are: the images look BGR; convert to RGB")

    def duplicates(self) -> list[list[str]]:
        """Groups of tiles with the very same image, as `fold#index`."""
        return [tiles for tiles in self._same.values() if len(tiles) > 1]

    def findings(self) -> list[str]:
        """Counts, remarks, stain contrast and duplicates, a line each."""
        lines = []
        for fold in self.folds:
            tiles, nuclei, _ = self.of_fold(fold)
            lines.append(f"{fold}: {tiles:,} tiles, {nuclei.sum():,} nuclei, {self.empty[fold]:,} tiles without any")
            lines += [f"{fold}: {n:,} {name.replace('_', ' ')}" for name, n in self.remarks[fold].items() if n]
            contrast = self.stain_contrast(fold)
            measured = "not measured: too few pixels" if math.isnan(contrast) else f"{contrast:+.1f} (positive in RGB)"
            lines.append(f"{fold}: stain contrast {measured}")
        twins = self.duplicates()
        across = [group for group in twins if any(a.split("#")[0] != b.split("#")[0] for a, b in pairwise(group))]
        lines.append(f"images that occur more than once: {len(twins)}, in more than one fold: {len(across)}")
        return lines + [f"the same image: {', '.join(group)}" for group in across[:10]]


def take_inventory(folds: Mapping[str, Iterable[Tile]], totals: Mapping[str, int], vocabulary: Vocabulary) -> Inventory:
    """Inventory of tiles by fold, with a progress bar; `totals` are the numbers of tiles."""
    inventory = Inventory(vocabulary)
    for name, tiles in folds.items():
        for tile in tqdm(tiles, f"examining {name}", totals[name], unit="tile", mininterval=1, leave=False):
            inventory.add(name, tile)
    return inventory
