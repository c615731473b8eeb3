"""The on-disk format of every prepared dataset: memory-mappable arrays of tiles, by fold.

    DATASET/manifest.json           format, vocabulary, folds, splits, origin; without it a folder is no dataset
    DATASET/FOLD/images.npy         [N, H, W, 3] uint8   RGB
    DATASET/FOLD/classes.npy        [N, H, W]    uint8   index of a label in the manifest's vocabulary, 255 = ignore
    DATASET/FOLD/instances.npy      [N, H, W]    uint16  0 = background, 1.. = nucleus, unique within its tile
    DATASET/FOLD/tiles.csv          a row a tile, in order: tissue, source, counts of `count_tile`, the source's remarks

Six bytes a pixel. The reference of a tile is `DATASET/FOLD/images.npy#12`, which `RGBReader` and `ClassMapReader` read.
`monch_monai.data.writer` writes it.
"""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX, PANNUKE, ClassTable, Vocabulary
from monch_monai.data.images import check_class_map
from monch_monai.errors import InputError

logger = logging.getLogger(__name__)

FORMAT = "monch-tiles"
VERSION = 3
PARTS = ("train", "validation", "test")
LAYOUT: Mapping[str, tuple[type, tuple[int, ...]]] = {
    "images": (np.uint8, (3,)),
    "classes": (np.uint8, ()),
    "instances": (np.uint16, ()),
}
"""Type and trailing axes of each array; the leading ones are N, H, W."""
IGNORED = "ignored"
"""Kind of pixel that is not counted, beside the labels of a vocabulary."""
HOW_TO_PREPARE = "give the folder of a prepared dataset (python -m monch_monai prepare_pannuke or prepare_consep)"

AGAIN = "prepare the dataset again"
KNOWN = ((FORMAT, VERSION), (FORMAT, 2))
"""Formats that are read. Version 2 knew PanNuke's classes alone."""


class Tile(NamedTuple):
    """One tile: `image [H, W, 3]` uint8 RGB, `classes [H, W]` uint8, `instances [H, W]` uint16, and its origin.

    `remarks` are counts of contradictions in its source, by name; all tiles of a fold have the same names.
    """

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    tissue: str
    source: str
    remarks: Mapping[str, int] = {}

    def cut(self, y: int, x: int, size: int) -> "Tile":
        """The square of `size` px whose first row and column are `y` and `x`, without remarks; its source names it."""
        here = np.s_[y : y + size, x : x + size]
        pixels = self.image[here], self.classes[here], self.instances[here]
        return Tile(*pixels, self.tissue, f"{self.source} x={x} y={y}")


def count_tile(tile: Tile, labels: Sequence[str]) -> dict[str, int]:
    """Pixels of each label and of 255 (`background_pixels`, …, `ignored_pixels`) and, but for background, nuclei."""
    pixels = np.bincount(tile.classes.ravel(), minlength=IGNORE_INDEX + 1)
    counts = {}
    for kind, value in zip((*labels, IGNORED), (*range(len(labels)), IGNORE_INDEX), strict=True):
        counts[f"{kind}_pixels"] = int(pixels[value])
        if value:
            ids = np.unique(tile.instances[tile.classes == value]) if pixels[value] else np.zeros(0)
            counts[f"{kind}_nuclei"] = int(np.count_nonzero(ids))
    return counts


class Tiles:
    """A prepared dataset, checked when opened.

    Args:
        dataset_dir: the folder with `manifest.json`.

    Attributes:
        folds: number of tiles of each fold.
        sizes: height and width of the tiles of each fold, px.
        vocabulary: what the values of its class maps stand for.
        fingerprint: SHA-256 over the files of all folds, as recorded when they were written.

    Raises:
        InputError: the folder is missing, empty or no prepared dataset of this version, an array has another shape or
            type than the manifest states, or a class map holds a value that is neither a label nor 255.
    """

    def __init__(self, dataset_dir: str | Path) -> None:
        self.dir = Path(dataset_dir)
        self._warned: set[str] = set()
        if not self.dir.is_dir():
            raise InputError(f"dataset_dir {self.dir} is not a folder: {HOW_TO_PREPARE}")
        manifest = self.dir / "manifest.json"
        if not manifest.is_file():
            found = "is empty" if not any(self.dir.iterdir()) else "holds no manifest.json"
            raise InputError(f"dataset_dir {self.dir} {found}: {HOW_TO_PREPARE}")
        try:
            self.manifest: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
            form = self.manifest["format"], self.manifest["version"]
            if form in KNOWN:
                self.vocabulary = _vocabulary(self.manifest)
                self.splits: dict[str, dict[str, list[str]]] = self.manifest["splits"]
                self.fingerprint = str(self.manifest["fingerprint"])
                self.folds = {name: int(fold["tiles"]) for name, fold in self.manifest["folds"].items()}
                self.sizes = {name: int(fold["tile_size"]) for name, fold in self.manifest["folds"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{manifest} is damaged ({error}): {AGAIN}") from error
        if form not in KNOWN:
            expected = " or ".join(f"{name} {version}" for name, version in KNOWN)
            raise InputError(
                f"{manifest} is of format {form[0]} {form[1]}; expected {expected}: {AGAIN} with this version"
            )
        for fold, size in self.sizes.items():
            for name, (dtype, trailing) in LAYOUT.items():
                shape = (self.folds[fold], size, size, *trailing)
                self._check(self.dir / fold / f"{name}.npy", np.dtype(dtype), shape)

    def _check(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}): {AGAIN}") from error
        if (array.dtype, array.shape) != (dtype, shape):
            found, stated = f"{array.dtype} {list(array.shape)}", f"{dtype} {list(shape)}"
            raise InputError(f"{path} holds {found}; its manifest states {stated}: {AGAIN}")
        if path.stem == "classes":
            for i, class_map in enumerate(array):
                check_class_map(class_map, f"{path}#{i}", len(self.vocabulary.labels))

    @property
    def datasets(self) -> "list[Tiles]":
        """This dataset alone; `SeveralTiles` has more."""
        return [self]

    def parts(self, folds: Sequence[str]) -> "list[tuple[Tiles, list[str]]]":
        """This dataset and the folds; of `SeveralTiles`, each dataset's."""
        return [(self, list(folds))]

    @property
    def class_table(self) -> ClassTable:
        """The classes that the labels speak of."""
        return self.vocabulary.table

    def split(self, name: str | int, part: str) -> list[str]:
        """Folds of one part (`train`, `validation`, `test`) of a split.

        A split without a test part is tested on its validation part.

        Raises:
            InputError: the split or the part is unknown, or the part has no tiles.
        """
        if str(name) not in self.splits:
            known = ", ".join(sorted(self.splits)) or f"none, since it has only {', '.join(self.folds)}"
            raise InputError(f"split {name} is not one of {self.dir}: {known}")
        if part not in PARTS:
            raise InputError(f"part {part!r} is none of {', '.join(PARTS)}")
        parts = self.splits[str(name)]
        if part == "test" and part not in parts:
            self._warn("split %s of %s has no test part: its validation part is scored", name, self.dir)
            part = "validation"
        folds = list(parts.get(part, []))
        if not folds or not set(folds) <= set(self.folds) or not sum(self.folds[fold] for fold in folds):
            raise InputError(f"the {part} part of split {name} of {self.dir} has no tiles: {AGAIN}")
        if "not exhaustive" in str(self.manifest.get("labels")):
            costs = "scores on it hardly count nuclei drawn where there are none, nor does training on it alone"
            self._warn(f"labels of %s are not exhaustive: {costs}", self.dir)
        return folds

    def _warn(self, message: str, *of: object) -> None:
        if message not in self._warned:
            logger.warning(message, *of)
        self._warned.add(message)

    def items(self, folds: Sequence[str]) -> list[dict[str, str]]:
        """One dictionary a tile, in order: references `image`, `label` and `instances`, and `tissue`, `source` and
        `dataset`.
        """
        items = []
        for fold in folds:
            for i, row in enumerate(self.rows([fold])):
                image, label, nuclei = (f"{self.dir / fold / name}.npy#{i}" for name in LAYOUT)
                origin = {"tissue": row["tissue"], "source": row["source"], "dataset": self.dir.resolve().name}
                items.append({"image": image, "label": label, "instances": nuclei, **origin})
        return items

    def rows(self, folds: Sequence[str]) -> list[dict[str, str]]:
        """Rows of the folds' `tiles.csv`, in order.

        Raises:
            InputError: a table cannot be read, has another number of rows than the manifest states, or lacks a count.
        """
        names = self.vocabulary.names
        counted = [*(f"{name}_pixels" for name in names), *(f"{name}_nuclei" for name in names[1:])]
        rows: list[dict[str, str]] = []
        for fold in folds:
            found = read_rows(self.dir / fold)
            if len(found) != self.folds[fold]:
                table, stated = self.dir / fold / "tiles.csv", self.folds[fold]
                raise InputError(f"{table} has {len(found)} tiles; its manifest states {stated}: {AGAIN}")
            for name in counted:
                if not all((row.get(name) or "").isdecimal() for row in found):
                    raise InputError(f"{self.dir / fold / 'tiles.csv'} has no number {name} for each tile: {AGAIN}")
            rows += found
        return rows


def _vocabulary(manifest: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that a manifest states.

    Raises:
        KeyError, TypeError, ValueError: it states none.
    """
    if manifest["version"] == VERSION:
        return Vocabulary.from_dict(manifest["vocabulary"])
    if manifest["classes"] != PANNUKE.names:
        raise ValueError(f"it has classes {manifest['classes']}")
    return Vocabulary.of_table(PANNUKE)


def read_rows(fold_dir: Path) -> list[dict[str, str]]:
    """Rows of `tiles.csv` in the folder of a fold, in order.

    Raises:
        InputError: the table cannot be read.
    """
    path = fold_dir / "tiles.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): {AGAIN}") from error


def read_tiles(fold_dir: Path, labels: Sequence[str]) -> Iterator[Tile]:
    """Tiles in the folder of a fold, in order, memory-mapped; `labels` are the vocabulary's names."""
    counted = {f"{kind}_{what}" for kind in (*labels, IGNORED) for what in ("pixels", "nuclei")}
    arrays = [np.load(fold_dir / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in LAYOUT]
    images, classes, instances = arrays
    for i, row in enumerate(read_rows(fold_dir)):
        remarks = {key: int(value) for key, value in row.items() if key not in counted | {"tissue", "source"}}
        yield Tile(images[i], classes[i], instances[i], row["tissue"], row["source"], remarks)
