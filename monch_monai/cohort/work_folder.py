"""What is finished of a slide, on disk: an interrupted run resumes there, and memory holds none of it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from monch_monai.cohort.claims import Claims
from monch_monai.errors import InputError
from monch_monai.files import PART, remove, write_atomically, write_text_atomically
from monch_monai.geometry import WorkingBox
from monch_monai.predict import Cell, Lattice, Prediction
from monch_monai.writers import TILE

SETTINGS = "settings.json"


class FileCache:
    """The predictions of tiles, in files: each tile is run once although regions overlap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, cell: Cell) -> Prediction | None:
        """Prediction of the tile for its cell, if it has been kept, and no other worker has just removed it."""
        with suppress(OSError), np.load(self._file(cell)) as kept:
            return Prediction(**kept)
        return None

    def put(self, cell: Cell, prediction: Prediction) -> None:
        """Keeps a prediction."""
        write_atomically(self._file(cell), lambda part: np.savez(part, allow_pickle=False, **prediction._asdict()))

    def drop_above(self, lattice: Lattice, y: int) -> None:
        """Removes the predictions of tiles whose cells end above row `y`."""
        for path in self.folder.glob("[0-9]*.npz"):
            if lattice.cell((0, int(path.stem.split("_")[0]))).bottom <= y:
                path.unlink(missing_ok=True)

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell[1]}_{cell[0]}.npz"


class WorkFolder:
    """Hidden folder of one slide's finished regions: of each its class map, in squares, and then its nuclei.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.regions = path / "regions"
        self.result = path / "result"

    @contextmanager
    def held(self, lock: Path, settings: dict[str, Any]) -> Iterator[bool]:
        """Opens the folder for this process alone; yields whether work can be resumed.

        Args:
            lock: file that a process holds while the folder is its own.
            settings: what the slide is segmented with; a folder that others made is emptied.

        Raises:
            InputError: another process is at the slide.
        """
        try:
            with FileLock(lock, timeout=0):
                try:
                    if self.regions.is_dir() and (others := Claims(self.regions).others()):
                        problem = f"{settings['slide'][0]} is being segmented by other workers ({others[0]})"
                        raise InputError(f"{problem}: wait for them, or join them with --workers_share true")
                    yield self._open(self._text(settings))
                finally:
                    lock.unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(f"{settings['slide'][0]} is being segmented by another process: wait for it") from error

    def others(self) -> list[str]:
        """Other workers that may be joined."""
        return []

    def takes(self, core: WorkingBox) -> bool:
        """Whether a region is this process's to segment: it is not finished."""
        return not self.is_finished(core)

    def finish(self, core: WorkingBox) -> None:
        """Is called in the process that took a region when that is kept."""

    def wait(self, cores: list[WorkingBox]) -> bool:
        """Waits for the regions of others; returns whether some are left to be taken."""
        return False

    def wait_to_write(self, target: Path) -> bool:
        """Whether this process is to write the files of the slide; `target` is their folder."""
        return True

    def give_up(self, useless: bool) -> None:
        """Removes the folder after an error, where nothing in it is of use to another run.

        Args:
            useless: what is finished is of no use either.
        """
        if useless or not any(self.regions.glob("[0-9]*.parquet")):
            self.remove()

    def _text(self, settings: dict[str, Any]) -> str:
        return json.dumps(settings, indent=2, sort_keys=True, default=str)

    def _is_of(self, text: str) -> bool:
        """Whether the folder was made with the settings of this text."""
        return self._has(SETTINGS, text)

    def _has(self, name: str, text: str) -> bool:
        record = self.path / name
        return record.is_file() and record.read_text(encoding="utf-8") == text

    def _open(self, text: str) -> bool:
        resumes = self._is_of(text)
        if not resumes:
            self.remove()
        self.regions.mkdir(parents=True, exist_ok=True)
        for part in list(self.path.rglob(f"{PART}*")):
            remove(part)  # of a run that was killed while it wrote
        write_text_atomically(self.path / SETTINGS, text)
        return resumes

    def is_finished(self, core: WorkingBox) -> bool:
        """Whether a region is finished."""
        return self._nuclei(core).is_file()

    def keep(self, core: WorkingBox, class_map: NDArray[np.uint8], nuclei: pa.Table) -> None:
        """Keeps the class map `[H, W]` of a region's core, then its nuclei, with which the region is finished.

        The corner of the core is a multiple of `TILE`; nuclei are as `nuclei_table.SCHEMA`.
        """
        squares = {
            f"{(core.y + y) // TILE}_{(core.x + x) // TILE}": class_map[y : y + TILE, x : x + TILE]
            for y in range(0, core.height, TILE)
            for x in range(0, core.width, TILE)
        }
        kept = {name: square for name, square in squares.items() if square.any()}
        write_atomically(self._classes(core), lambda part: np.savez_compressed(part, allow_pickle=False, **kept))
        write_atomically(self._nuclei(core), lambda part: pq.write_table(nuclei, part))

    def nuclei(self, cores: list[WorkingBox]) -> Iterator[pa.Table]:
        """Nuclei of finished regions, one table after another."""
        for core in cores:
            yield pq.read_table(self._nuclei(core), memory_map=False)

    def square(self, core: WorkingBox, row: int, column: int) -> NDArray[np.uint8] | None:
        """Class map of one square of a finished region, `[<= TILE, <= TILE]`; None where it is background."""
        path = self._classes(core)
        if not path.is_file():
            return None
        with np.load(path) as squares:
            square: NDArray[np.uint8] | None = squares.get(f"{row}_{column}")
        return square

    def tile_cache(self) -> FileCache:
        """Keeps the predictions of tiles until the regions that need them are done."""
        return FileCache(self.path / "tiles")

    def remove(self) -> None:
        """Removes the folder, where there is one."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def _nuclei(self, core: WorkingBox) -> Path:
        return self.regions / f"{core.y}_{core.x}.parquet"

    def _classes(self, core: WorkingBox) -> Path:
        return self.regions / f"{core.y}_{core.x}.npz"
