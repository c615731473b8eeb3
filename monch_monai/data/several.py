"""Several prepared datasets as one, whose tiles keep their dataset's name."""

import hashlib
from collections.abc import Sequence

from monch_monai.class_table import ClassTable
from monch_monai.data.tiles import Tiles
from monch_monai.errors import InputError


class SeveralTiles:
    """Several prepared datasets, for one training.

    A part of a split is that part of the split of every dataset.
    Folds are named `DATASET/FOLD`, by the names of the datasets' folders.

    Args:
        datasets: at least one, in folders of different names.

    Attributes:
        folds: number of tiles of each fold.
        sizes: height and width of the tiles of each fold, px.
        fingerprint: SHA-256 over the fingerprints of the datasets.

    Raises:
        InputError: there is no dataset, two have the same tiles, or two folders have one name.
    """

    def __init__(self, datasets: Sequence[Tiles]) -> None:
        if not datasets:
            raise InputError("dataset_dir is an empty list; give at least one folder of a prepared dataset")
        for i, dataset in enumerate(datasets):
            for twin in datasets[:i]:
                if twin.fingerprint == dataset.fingerprint:
                    raise InputError(
                        f"dataset_dir names the same tiles twice, {twin.dir} and {dataset.dir}: leave one out"
                    )
        self.named = {dataset.dir.resolve().name: dataset for dataset in datasets}
        if len(self.named) < len(datasets):
            names = [str(dataset.dir) for dataset in datasets]
            raise InputError(f"dataset_dir has two folders of one name in {names}: rename one")
        self.datasets = list(datasets)
        self.folds = {f"{name}/{fold}": n for name, dataset in self.named.items() for fold, n in dataset.folds.items()}
        self.sizes = {f"{name}/{fold}": n for name, dataset in self.named.items() for fold, n in dataset.sizes.items()}
        prints = "\n".join(dataset.fingerprint for dataset in datasets)
        self.fingerprint = hashlib.sha256(prints.encode()).hexdigest()

    @property
    def class_table(self) -> ClassTable:
        """The classes of the first dataset."""
        return self.datasets[0].class_table

    def split(self, name: str | int, part: str) -> list[str]:
        """Folds of one part (`train`, `validation`, `test`) of a split, of all datasets.

        Raises:
            InputError: see `Tiles.split`.
        """
        return [f"{of}/{fold}" for of, dataset in self.named.items() for fold in dataset.split(name, part)]

    def items(self, folds: Sequence[str]) -> list[dict[str, str]]:
        """One dictionary a tile, see `Tiles.items`, in order of the folds."""
        return [item for dataset, inner in self.parts(folds) for item in dataset.items(inner)]

    def rows(self, folds: Sequence[str]) -> list[dict[str, str]]:
        """Rows of the folds' `tiles.csv`, in order.

        Raises:
            InputError: see `Tiles.rows`.
        """
        return [row for dataset, inner in self.parts(folds) for row in dataset.rows(inner)]

    def parts(self, folds: Sequence[str]) -> list[tuple[Tiles, list[str]]]:
        """Dataset of each fold, and the fold's name there."""
        return [(self.named[fold.partition("/")[0]], [fold.partition("/")[2]]) for fold in folds]
