"""The labels of prepared datasets in one class table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable, LabelSets, combined
from monch_monai.data.several import SeveralTiles
from monch_monai.data.tiles import Tiles


class TileLabels:
    """What the labels of each dataset stand for among the classes of a network.

    Args:
        tiles: one dataset, or several.
        class_table: the network's classes.

    Attributes:
        sets: values of the class maps as `ClassMapReader` returns them.

    Raises:
        InputError: the datasets' labels make more sets of classes than a byte has values.
    """

    def __init__(self, tiles: Tiles | SeveralTiles, class_table: ClassTable) -> None:
        self.tiles, datasets = tiles, tiles.datasets
        self._numbers: Mapping[Path, int] = {dataset.dir: len(dataset.vocabulary.labels) for dataset in datasets}
        self.sets: LabelSets = combined(class_table, [dataset.vocabulary for dataset in datasets])
        self._lookups: Mapping[Path, NDArray[np.uint8]] = {
            dataset.dir: dataset.vocabulary.lookup(self.sets) for dataset in datasets
        }

    def in_classes(self, class_table: ClassTable) -> "TileLabels":
        """The labels of the same datasets in other classes."""
        return TileLabels(self.tiles, class_table)

    def lookup(self, reference: str) -> NDArray[np.uint8]:
        """Value in `sets` of each value, `[256]`, of the class map that `DATASET/FOLD/classes.npy#INDEX` refers to."""
        return self._lookups[Path(reference).parents[1]]

    def number(self, reference: str) -> int:
        """Number of labels that the class map of `reference` may hold, those of its dataset."""
        return self._numbers[Path(reference).parents[1]]

    def of_row(self, row: Mapping[str, str], dataset: Tiles) -> list[bool]:
        """Whether the tile of a row of `tiles.csv` has nuclei of each value of `sets`."""
        found = [False] * len(self.sets)
        for value, name in zip(dataset.vocabulary.lookup(self.sets), dataset.vocabulary.names, strict=False):
            if value and row[f"{name}_nuclei"] != "0":
                found[int(value)] = True
        return found

    def class_shares(self, tiles: Tiles | SeveralTiles, folds: Sequence[str], known_alone: bool = False) -> list[float]:
        """Share of the counted pixels of each class of the table.

        Pixels of several classes are divided among them, or with `known_alone` left out.
        """
        pixels = np.zeros(len(self.sets))
        for dataset, inner in tiles.parts(folds):
            values = dataset.vocabulary.lookup(self.sets)
            for row in dataset.rows(inner):
                for value, name in zip(values, dataset.vocabulary.names, strict=False):
                    pixels[value] += int(row[f"{name}_pixels"])
        allowed = self.sets.allowed
        members = allowed.sum(axis=1, keepdims=True)
        of_class = pixels @ (allowed * (members == 1) if known_alone else allowed / members)
        return [float(share) for share in of_class / max(of_class.sum(), 1)]
