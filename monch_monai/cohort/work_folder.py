"""What is finished of a slide, on disk: an interrupted run resumes there, and memory holds none of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from monch_monai.files import PART, write_atomically, write_text_atomically
from monch_monai.geometry import WorkingBox
from monch_monai.predict import Cell, Lattice, Prediction
from monch_monai.writers import TILE


class FileCache:
    """The predictions of tiles, in files: each tile is run once although regions overlap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, cell: Cell) -> Prediction | None:
        """Prediction of the tile for its cell, if it has been kept."""
        path = self._file(cell)
        if not path.is_file():
            return None
        with np.load(path) as kept:
            return Prediction(kept["class_map"], kept["probs"])

    def put(self, cell: Cell, prediction: Prediction) -> None:
        """Keeps a prediction."""
        write_atomically(self._file(cell), lambda part: np.savez(part, allow_pickle=False, **prediction._asdict()))

    def drop_above(self, lattice: Lattice, y: int) -> None:
        """Removes the predictions of tiles whose cells end above row `y`."""
        for path in self.folder.glob("*.npz"):
            if lattice.cell((0, int(path.stem.split("_")[0]))).bottom <= y:
                path.unlink()

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell[1]}_{cell[0]}.npz"


class WorkFolder:
    """Hidden folder of one slide's finished regions: of each its class map, in squares, and then its nuclei."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.regions = path / "regions"

    def open(self, settings: dict[str, Any]) -> bool:
        """Makes the folder, or empties one that other settings made; returns whether work can be resumed."""
        text = json.dumps(settings, indent=2, sort_keys=True, default=str)
        record = self.path / "settings.json"
        resumes = record.is_file() and record.read_text(encoding="utf-8") == text
        if not resumes and self.path.exists():
            shutil.rmtree(self.path)
        self.regions.mkdir(parents=True, exist_ok=True)
        for part in self.path.rglob(f"{PART}*"):
            part.unlink()  # of a run that was killed while it wrote
        write_text_atomically(record, text)
        return resumes

    def is_finished(self, core: WorkingBox) -> bool:
        """Whether a region is finished."""
        return self._nuclei(core).is_file()

    def has_finished(self) -> bool:
        """Whether any region is finished."""
        return any(self.regions.glob("*.parquet"))

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
