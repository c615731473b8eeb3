"""Finds PanNuke's folds in the published zips, in extracted folders, or in the parquet copy."""

import logging
import re
import zipfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monch_monai.data.tiles import Tile
from monch_monai.datasets.folders import files_beneath, is_hidden
from monch_monai.datasets.pannuke.arrays import ArrayFile
from monch_monai.datasets.pannuke.masks import CHANNELS, decode
from monch_monai.datasets.pannuke.parquet import ParquetFold
from monch_monai.datasets.pannuke.published import FOLDS
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.tissues import TISSUES

EXPECTED = (
    "fold_1.zip, fold_2.zip and fold_3.zip, or the folders in them ('Fold 1/images/fold1/images.npy', …), or the hub's "
    "parquet files (fold1-….parquet, …)"
)
FOLD_NUMBER = re.compile(r"fold[ _-]?(\d+)", re.IGNORECASE)
KIND = re.compile(r"(?:^|[_\W]|\d)(images|masks|types)(?:[_\W]|\d|$)", re.IGNORECASE)

logger = logging.getLogger(__name__)


class FoldSource(Protocol):
    """One fold of a source: its number of tiles, names and sizes of its files, and its tiles from a given one on."""

    count: int
    identity: str

    def tiles(self, start: int = 0) -> Iterator[Tile]:
        """Tiles from `start` on, decoded and checked."""


class _Place(NamedTuple):
    path: Path
    member: str | None

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)


class ArrayFold:
    """A fold of the published arrays: images `[N, H, W, 3]`, masks `[N, H, W, 6]`, types `[N]`.

    Raises:
        InputError: an array is missing or damaged, shapes or numbers of tiles do not agree, or a tissue is unknown.
    """

    def __init__(self, number: int, places: dict[str, _Place]) -> None:
        if missing := [kind for kind in ("images", "masks", "types") if kind not in places]:
            found = f"fold {number} has no {missing[0]}.npy (found was {next(iter(places.values()))})"
            raise InputError(f"{found}: a fold has images.npy, masks.npy and types.npy")
        self.images, self.masks, types = (ArrayFile(*places[kind]) for kind in ("images", "masks", "types"))
        self.count = self.images.shape[0]
        for array, channels in ((self.images, 3), (self.masks, CHANNELS)):
            if array.shape[1:] != (256, 256, channels):
                raise InputError(f"{array.name} has shape {list(array.shape)}; expected [N, 256, 256, {channels}]")
        if len({array.shape[0] for array in (self.images, self.masks, types)}) > 1:
            counts = ", ".join(f"{array.shape[0]} in {array.name}" for array in (self.images, self.masks, types))
            raise InputError(f"fold {number} has unequal numbers of tiles: {counts}")
        self.tissues = [str(tissue) for tissue in types.load()]
        for tissue in sorted(set(self.tissues) - set(TISSUES)):
            near = get_close_matches(tissue, TISSUES, 1, 0.0)[0]
            raise InputError(f"{types.name} holds the tissue {tissue!r}, none of PanNuke's nineteen (nearest: {near})")
        self.identity = "; ".join(array.identity for array in (self.images, self.masks, types))

    def tiles(self, start: int = 0) -> Iterator[Tile]:
        """Tiles from `start` on.

        Raises:
            InputError: a file is damaged, or a tile is no image or no mask; the message names the tile.
        """
        rows = zip(self.images.rows(start), self.masks.rows(start), strict=True)
        for i, (image, masks) in enumerate(rows, start):
            maps = decode(masks, f"{self.masks.name}#{i}")
            pixels = as_rgb(image, f"{self.images.name}#{i}")
            yield Tile(pixels, maps.classes, maps.instances, self.tissues[i], f"tile {i}", maps.remarks)


def as_rgb(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Image `[H, W, 3]` of any number type with values 0 to 255, as uint8.

    Raises:
        InputError: values are not whole numbers from 0 to 255, or look scaled to 0 to 1.
    """
    with np.errstate(invalid="ignore"):
        pixels = image.astype(np.uint8)
    if not np.array_equal(pixels, image):
        raise InputError(f"{name}: values from {image.min():g} to {image.max():g}; whole numbers 0 to 255 are expected")
    return pixels


def find_folds(source: str | Path) -> dict[int, FoldSource]:
    """Folds in `source`, by number; of a fold in several forms, zip comes before arrays before parquet.

    Raises:
        InputError: `source` does not exist or holds no fold of PanNuke, a name has two numbers
            (`Fold 1/images/fold2/images.npy`), a fold has the number of tiles of another, or a file is damaged.
    """
    root = Path(source)
    if not root.exists():
        raise InputError(f"source {root} does not exist: give a folder with {EXPECTED}")
    files = files_beneath(root) if root.is_dir() else [root]
    prepared = {path.parent for path in files if path.name == "manifest.json"}
    files = [path for path in files if not prepared & set(path.parents)]
    zips: dict[int, dict[str, _Place]] = {}
    arrays: dict[int, dict[str, _Place]] = {}
    parquets: dict[int, list[Path]] = {}
    for path in files:
        inner = str(path.relative_to(root)) if root.is_dir() else path.name
        if path.suffix.lower() == ".zip":
            for member in _members(path):
                _place(zips, _Place(path, member), f"{path.name}/{member}", outer=None)
        elif path.suffix.lower() == ".npy":
            _place(arrays, _Place(path, None), inner, outer=root.resolve().name)
        elif path.suffix.lower() == ".parquet" and (number := _number(inner, root.resolve().name)) is not None:
            parquets.setdefault(number, []).append(path)
    folds: dict[int, FoldSource] = {}
    for number in sorted({*zips, *arrays, *parquets}):
        if number not in FOLDS:
            raise InputError(f"{root} holds a fold {number}; PanNuke has folds 1, 2 and 3")
        if number in zips or number in arrays:
            folds[number] = ArrayFold(number, zips.get(number) or arrays[number])
        else:
            folds[number] = ParquetFold(parquets[number])
        if not folds[number].count:
            raise InputError(f"fold {number} of {root} has no tiles: fetch it again")
        logger.info("fold %d: %d tiles in %s", number, folds[number].count, folds[number].identity)
    if not folds:
        raise InputError(f"source {root} holds no fold of PanNuke: expected are {EXPECTED}")
    _check_order(folds)
    for path in sorted({places["images"].path for places in zips.values()}):
        _check_archive(path)
    return folds


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        published = {f"fold_{number}.zip": f" of {fold.archive_bytes:,}" for number, fold in FOLDS.items()}
        size = f"{path.stat().st_size:,}{published.get(path.name, '')} bytes"
        raise InputError(f"{path} is no whole zip archive ({error}; it has {size}): fetch it again") from error
    return [name for name in names if name.endswith(".npy") and not any(map(is_hidden, Path(name).parts))]


def _number(inner: str, outer: str | None) -> int | None:
    """The fold's number in a path, or else in the name of the folder it is in."""
    numbers = {int(n) for n in FOLD_NUMBER.findall(inner)} or {int(n) for n in FOLD_NUMBER.findall(outer or "")}
    if len(numbers) > 1:
        raise InputError(f"{inner} names two folds ({' and '.join(map(str, sorted(numbers)))}): are they swapped?")
    return min(numbers, default=None)


def _place(folds: dict[int, dict[str, _Place]], place: _Place, inner: str, outer: str | None) -> None:
    number, kind = _number(inner, outer), KIND.search(Path(inner).name)
    if number is None or kind is None:
        return
    twin = folds.setdefault(number, {}).setdefault(kind[1].lower(), place)
    if twin != place:
        raise InputError(f"fold {number} has {kind[1]} twice, in {twin} and {place}: remove one")


def _check_order(folds: dict[int, FoldSource]) -> None:
    """Raises an `InputError` where a fold has the number of tiles of another, since the published numbers differ."""
    for number, fold in folds.items():
        for other in FOLDS:
            if other != number and fold.count == FOLDS[other].tiles:
                published = f"fold {other}'s number (fold {number} has {FOLDS[number].tiles})"
                raise InputError(f"fold {number} has {fold.count} tiles, which is {published}: the folds are swapped")


def _check_archive(path: Path) -> None:
    digest = sha256(path)
    known = {fold.archive_sha256: number for number, fold in FOLDS.items()}
    if digest in known:
        logger.info("%s is the published archive of fold %d (SHA-256)", path.name, known[digest])
    else:
        logger.warning("%s is not one of the published archives (SHA-256 %s): labels are taken as found", path, digest)
