"""The on-disk format of every prepared dataset: memory-mappable arrays of tiles, by fold.

    DATASET/manifest.json           what it is; written last, so a folder without one is not a dataset
    DATASET/FOLD/images.npy         [N, H, W, 3] uint8   RGB
    DATASET/FOLD/classes.npy        [N, H, W]    uint8   index into `monch_monai.classes.CLASSES`, 255 = ignore
    DATASET/FOLD/instances.npy      [N, H, W]    uint16  0 = background, 1.. = nucleus, unique within its tile
    DATASET/FOLD/tiles.csv          tissue and source of each tile, in order

Six bytes a pixel. A tile is referred to as `DATASET/FOLD/images.npy#12`, which `RGBReader` and `ClassMapReader` read.
"""

import csv
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from monch_monai.classes import CLASSES
from monch_monai.data.images import check_class_map
from monch_monai.errors import InputError
from monch_monai.files import sha256

logger = logging.getLogger(__name__)

FORMAT = "monch-tiles"
VERSION = 1
PARTS = ("train", "validation", "test")
LAYOUT: Mapping[str, tuple[type, tuple[int, ...]]] = {
    "images": (np.uint8, (3,)),
    "classes": (np.uint8, ()),
    "instances": (np.uint16, ()),
}
"""Type and trailing axes of each array; the leading ones are N, H, W."""


class Tile(NamedTuple):
    """One tile: `image [H, W, 3]` uint8 RGB, `classes [H, W]` uint8, `instances [H, W]` uint16, and its origin."""

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    tissue: str
    source: str


class Tiles:
    """A prepared dataset, checked when opened.

    Args:
        dataset_dir: the folder with `manifest.json`.

    Attributes:
        fingerprint: SHA-256 over the files of all folds, as recorded when they were written.

    Raises:
        InputError: the folder is missing, empty or not a prepared dataset, or an array is not what the manifest says.
    """

    def __init__(self, dataset_dir: str | Path) -> None:
        self.dir = Path(dataset_dir)
        self._warned = False
        if not self.dir.is_dir():
            raise InputError(f"dataset_dir {self.dir} is not a folder: give the folder of a prepared dataset")
        manifest = self.dir / "manifest.json"
        if not manifest.is_file():
            found = "is empty" if not any(self.dir.iterdir()) else "holds no manifest.json"
            raise InputError(f"dataset_dir {self.dir} {found}: give the folder of a prepared dataset")
        try:
            self.manifest: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
            form = self.manifest["format"], self.manifest["version"], self.manifest["classes"]
            self.folds: dict[str, int] = {name: int(fold["tiles"]) for name, fold in self.manifest["folds"].items()}
            self.splits: dict[str, dict[str, list[str]]] = self.manifest["splits"]
            self.fingerprint = str(self.manifest["fingerprint"])
            size = int(self.manifest["tile_size"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{manifest} is damaged ({error}): prepare the dataset again") from error
        if form != (FORMAT, VERSION, [c.name for c in CLASSES]):
            raise InputError(
                f"{manifest} is of format {form[0]} {form[1]} with classes {form[2]}; expected {FORMAT} {VERSION} "
                f"with {[c.name for c in CLASSES]}: prepare the dataset again with this version"
            )
        for fold, count in self.folds.items():
            for name, (dtype, trailing) in LAYOUT.items():
                self._check(self.dir / fold / f"{name}.npy", np.dtype(dtype), (count, size, size, *trailing))

    @staticmethod
    def _check(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}): prepare the dataset again") from error
        if (array.dtype, array.shape) != (dtype, shape):
            raise InputError(
                f"{path} holds {array.dtype} {list(array.shape)}; its manifest says {dtype} {list(shape)}: "
                "prepare the dataset again"
            )
        if path.stem == "classes":
            for i, class_map in enumerate(array):
                check_class_map(class_map, f"{path}#{i}")

    def split(self, name: str | int, part: str) -> list[str]:
        """Folds of one part (`train`, `validation`, `test`) of a split.

        A split without a test part is tested on its validation part.
        """
        if str(name) not in self.splits:
            raise InputError(f"split {name} is not one of this dataset's: {', '.join(sorted(self.splits))}")
        if part not in PARTS:
            raise InputError(f"part {part!r} is none of {', '.join(PARTS)}")
        parts = self.splits[str(name)]
        if part == "test" and part not in parts:
            if not self._warned:
                logger.warning("split %s of %s has no test part: scored is its validation part", name, self.dir)
            self._warned = True
            part = "validation"
        folds = list(parts.get(part, []))
        if not folds or not set(folds) <= set(self.folds) or not sum(self.folds[fold] for fold in folds):
            raise InputError(f"the {part} part of split {name} of {self.dir} has no tiles: prepare the dataset again")
        return folds

    def items(self, folds: Sequence[str]) -> list[dict[str, str]]:
        """One dictionary a tile, in order: references `image` and `label` for the readers, `tissue` and `source`."""
        items = []
        for fold in folds:
            for i, row in enumerate(self._rows(fold)):
                image, label = (f"{self.dir / fold / name}.npy#{i}" for name in ("images", "classes"))
                items.append({"image": image, "label": label, "tissue": row["tissue"], "source": row["source"]})
        return items

    def _rows(self, fold: str) -> list[dict[str, str]]:
        path = self.dir / fold / "tiles.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error}): prepare the dataset again") from error
        if len(rows) != self.folds[fold]:
            raise InputError(f"{path} has {len(rows)} tiles; its manifest says {self.folds[fold]}: prepare again")
        return rows


def write_tiles(
    dataset_dir: str | Path,
    folds: Mapping[str, tuple[int, Iterable[Tile]]],
    splits: Mapping[str, Mapping[str, Sequence[str]]],
    tile_size: int = 256,
    **notes: str,
) -> None:
    """Writes a dataset whole or not at all: everything goes to a folder beside it, which is renamed at the end.

    Args:
        dataset_dir: the folder to make; it must not exist, or be empty.
        folds: for each fold its number of tiles and the tiles.
        splits: for each split name its parts (`train`, `validation`, `test`) and their folds.
        tile_size: height and width of the tiles, in pixels.
        notes: plain text for the manifest: `name`, `source`, `license`, `labels`, …

    Raises:
        InputError: the folder holds something already.
    """
    target = Path(dataset_dir)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already: name another folder, or remove it")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        hashes = {fold: _write_fold(partial / fold, count, tiles, tile_size) for fold, (count, tiles) in folds.items()}
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            **notes,
            "mpp": 0.25,
            "tile_size": tile_size,
            "classes": [c.name for c in CLASSES],
            "folds": {fold: {"tiles": folds[fold][0], "sha256": hashes[fold]} for fold in folds},
            "splits": splits,
            "fingerprint": hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest(),
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_fold(folder: Path, count: int, tiles: Iterable[Tile], size: int) -> dict[str, str]:
    folder.mkdir(parents=True)
    arrays = {
        name: open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, size, size, *trailing))
        for name, (dtype, trailing) in LAYOUT.items()
    }
    written = 0
    with (folder / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["tissue", "source"])
        for tile in tiles:
            if written == count:
                raise ValueError(f"fold {folder.name} was to hold {count} tiles; got more")
            arrays["images"][written] = tile.image
            arrays["classes"][written] = tile.classes
            arrays["instances"][written] = tile.instances
            rows.writerow([tile.tissue, tile.source])
            written += 1
    if written != count:
        raise ValueError(f"fold {folder.name} was to hold {count} tiles; got {written}")
    for array in arrays.values():
        array.flush()
    hashes = {}
    for name in sorted([*(f"{n}.npy" for n in LAYOUT), "tiles.csv"]):
        hashes[name] = sha256(folder / name)
    return hashes
