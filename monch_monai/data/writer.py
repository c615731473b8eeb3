"""Writes prepared datasets (`monch_monai.data.tiles`), whole or not at all, and resumes interrupted work."""

import csv
import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
from tqdm import tqdm

from monch_monai import __version__
from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data.tiles import FORMAT, LAYOUT, VERSION, Tile, count_tile
from monch_monai.errors import InputError
from monch_monai.files import PART, sha256
from monch_monai.geometry import NETWORK_MPP, TILE_SIZE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """A fold to write: its number of tiles, the tiles from a given one on, and their height and width in pixels."""

    count: int
    tiles: Callable[[int], Iterable[Tile]]
    tile_size: int = TILE_SIZE


def write_tiles(
    dataset_dir: str | Path,
    folds: Mapping[str, Fold],
    splits: Mapping[str, Mapping[str, Sequence[str]]],
    finish: Callable[[Path], None] = lambda folder: None,
    vocabulary: Vocabulary = Vocabulary.of_table(PANNUKE),  # noqa: B008 # frozen
    **notes: str,
) -> None:
    """Writes a dataset whole or not at all: it grows in a folder beside its own, which is renamed at the end.

    After a killed process or a full disk the same call resumes after the last whole tile, and writes the same bytes.

    Args:
        dataset_dir: the folder to make; an existing one must be empty.
        folds: what to write, by the folds' names.
        splits: for each split name its parts (`train`, `validation`, `test`) and their folds.
        finish: called with the folder when all tiles are in it: it may add files, and its error ends the work.
        vocabulary: what the values of class maps stand for.
        notes: plain text for the manifest: `name`, `source`, `license`, `labels`, … Interrupted work is resumed only
            where they are the same.

    Raises:
        InputError: `dataset_dir` is not empty, another process is writing it, or it cannot be written.
        ValueError: a fold yields more or fewer tiles than announced, or a tile of another size.
    """
    target = free_folder(dataset_dir)
    partial, lock = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.lock")
    draft: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"monch_monai {__version__}",
        **notes,
        "mpp": NETWORK_MPP,
        "vocabulary": vocabulary.to_dict(),
        "folds": {name: {"tiles": fold.count, "tile_size": fold.tile_size} for name, fold in folds.items()},
        "splits": splits,
    }
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, blocking=False):
            _open_draft(partial, json.dumps(draft, indent=2))
            for name, fold in folds.items():
                _write_fold(partial / name, fold, vocabulary.names)
            for name in folds:
                files = sorted([*(f"{n}.npy" for n in LAYOUT), "tiles.csv"])
                draft["folds"][name]["sha256"] = {file: sha256(partial / name / file) for file in files}
            hashes = {name: fold["sha256"] for name, fold in draft["folds"].items()}
            draft["fingerprint"] = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
            for left_over in partial.glob(f"{PART}*"):  # from a `finish` that was killed
                left_over.unlink()
            finish(partial)
            (partial / "manifest.json").write_text(json.dumps(draft, indent=2) + "\n", encoding="utf-8")
            (partial / "draft.json").unlink()
            if target.exists():
                target.rmdir()
            partial.rename(target)
        lock.unlink(missing_ok=True)
    except KeyboardInterrupt:
        logger.warning("interrupted: the same command resumes the work kept in %s", partial)
        raise
    except filelock.Timeout as error:
        raise InputError(f"{partial} is being written by another process: wait for it to end") from error
    except InputError:  # the source is wrong, and so are the tiles made of it
        shutil.rmtree(partial, ignore_errors=True)
        lock.unlink(missing_ok=True)
        raise
    except OSError as error:
        remedy = f"remove the cause and run the same command again, which resumes the work kept in {partial}"
        raise InputError(f"{target} could not be written to the end ({error}): {remedy}") from error


def free_folder(dataset_dir: str | Path) -> Path:
    """`dataset_dir` as an absolute path, if a dataset can be made there: it does not exist, or is an empty folder.

    Raises:
        InputError: `dataset_dir` is a file, a folder that is not empty or cannot be listed, a link or a mount point.
    """
    target = Path(dataset_dir).absolute()
    try:
        occupied = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise InputError(f"{target} cannot be listed ({error}): name another folder") from error
    if occupied:
        raise InputError(f"{target} exists already: name another folder, or remove it")
    if target.is_symlink() or os.path.ismount(target):
        raise InputError(f"{target} is a link or a mount point, which cannot be replaced: name a new folder inside it")
    return target


def _open_draft(partial: Path, draft: str) -> None:
    """Empties the folder unless it was begun with the same draft."""
    path = partial / "draft.json"
    if path.is_file() and path.read_text(encoding="utf-8") == draft:
        logger.info("resuming the interrupted work in %s", partial)
        return
    for entry in partial.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    path.write_text(draft, encoding="utf-8")


def _write_fold(folder: Path, fold: Fold, labels: Sequence[str]) -> None:
    """Appends the tiles that are missing; those already written follow from the lengths of the files."""
    folder.mkdir(exist_ok=True)
    table = folder / "tiles.csv"
    # A row ends in \r\n and is written after its tile's arrays; bytes after the last whole row are dropped.
    rows = table.read_bytes().split(b"\r\n")[:-1] if table.exists() else []
    with ExitStack() as stack:
        paths = table, *(folder / f"{name}.npy" for name in LAYOUT)
        table_file, *files = (stack.enter_context(path.open("ab", buffering=0)) for path in paths)
        arrays = [_Growing(file, name, fold) for file, name in zip(files, LAYOUT, strict=True)]
        done = max(0, min(len(rows) - 1, *(array.complete for array in arrays)))
        for array in arrays:
            array.keep(done)
        table_file.truncate(sum(len(row) + 2 for row in rows[: done + 1]) if done else 0)
        with tqdm(total=fold.count, initial=done, desc=folder.name, unit="tile", mininterval=1) as progress:
            written = done
            for tile in fold.tiles(done):
                if written == fold.count:
                    raise ValueError(f"fold {folder.name} was to hold {fold.count} tiles; got more")
                for array, pixels in zip(arrays, (tile.image, tile.classes, tile.instances), strict=True):
                    array.append(pixels)
                row = {"tissue": tile.tissue, "source": tile.source, **count_tile(tile, labels), **tile.remarks}
                _write_all(table_file, (b"" if written else _csv(row)) + _csv(row.values()))
                written += 1
                progress.update()
    if written != fold.count:
        raise ValueError(f"fold {folder.name} was to hold {fold.count} tiles; got {written}")


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:  # an unbuffered write may take a part only
        view = view[file.write(view) :]


def _csv(values: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([str(value).replace("\n", " ").replace("\r", " ") for value in values])
    return text.getvalue().encode()


class _Growing:
    """An .npy file whose header announces all tiles, while they are appended one by one.

    Attributes:
        complete: number of whole tiles in the file when it was opened.
    """

    def __init__(self, file: BinaryIO, name: str, fold: Fold) -> None:
        dtype, trailing = LAYOUT[name]
        self.file, self.name = file, name
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.shape = (fold.tile_size, fold.tile_size, *trailing)
        header = io.BytesIO()
        all_tiles = {"descr": self.dtype.str, "fortran_order": False, "shape": (fold.count, *self.shape)}
        np.lib.format.write_array_header_1_0(header, all_tiles)
        self.header = header.getvalue()
        self.tile_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self.complete = (file.tell() - len(self.header)) // self.tile_bytes

    def keep(self, tiles: int) -> None:
        """Cuts the file after the first `tiles` tiles."""
        self.file.truncate(len(self.header) + tiles * self.tile_bytes if tiles else 0)
        if not tiles:
            _write_all(self.file, self.header)

    def append(self, pixels: Any) -> None:
        """Adds the array of one tile."""
        if pixels.shape != self.shape:
            raise ValueError(f"{self.name}.npy takes tiles of shape {self.shape}; got {pixels.shape}")
        _write_all(self.file, np.ascontiguousarray(pixels, dtype=self.dtype).tobytes())
