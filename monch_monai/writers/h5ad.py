"""AnnData of nuclei, for scanpy and squidpy."""

import io
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from monch_monai.segmentation import named
from monch_monai.writers.source import Source

ROWS = 8192
"""Rows in a chunk of the file."""


class H5adFile:
    """An AnnData (`.h5ad`) of one row a nucleus, which grows on disk by its published layout of HDF5.

    `obs` has the class (`class_name`, a category of every class of nuclei) and the numbers, `obsm['spatial']` the
    centroid `[K, 2]` (x, y) in px of level 0; there are no variables. `uns['class_table']` holds names, colours and
    parents, `uns['class_name_colors']` colours as scanpy draws them, `uns['monch']` the provenance as JSON. Numbers
    without a value are NaN. Row names are the nuclei's numbers, from 1.

    Args:
        path: to write.
        source: what the nuclei are of.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.source, self.count = source, 0
        self.names = [c.name for c in source.class_table.nuclei]
        self.columns = [quantity.column for quantity in source.quantities]
        self.disk = _Disk(path, "w+")
        self.file = h5py.File(self.disk, "w")
        self._begin()
        if self.disk.error is not None:
            self.__exit__(OSError)
        self.disk.check()

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`.

        Raises:
            OSError: the disk is full.
        """
        table = named(nuclei, self.source.class_table)
        first, self.count = self.count, self.count + table.num_rows
        self._append("obs/_index", np.arange(first + 1, self.count + 1).astype(str).astype(object))
        self._append("obs/class_name/codes", table["class_index"].to_numpy().astype(np.int8) - 1)
        for column in self.columns:
            self._append(f"obs/{column}", table[column].to_numpy().astype(np.float64))
        self._append("obsm/spatial", np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1))
        self.disk.check()

    def __enter__(self) -> "H5adFile":
        """The open file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Ends the file; after an error it stays unfinished.

        Raises:
            OSError: the disk is full.
        """
        with self.disk:
            if kind is None:
                anndata.io.write_elem(self.file, "X", np.zeros((self.count, 0), np.float32))
            self.file.close()
            if kind is None:
                self.disk.check()

    def _begin(self) -> None:
        _describe(self.file, "anndata", "0.1.0")
        for name in ("layers", "varm", "obsp", "varp", "obsm"):
            _describe(self.file.create_group(name), "dict", "0.1.0")
        anndata.io.write_elem(self.file, "var", pd.DataFrame(index=pd.Index([], dtype=str)))
        obs = self.file.create_group("obs")
        _describe(obs, "dataframe", "0.2.0")
        obs.attrs["_index"] = "_index"
        obs.attrs["column-order"] = np.array(["class_name", *self.columns], object)
        kind = obs.create_group("class_name")
        _describe(kind, "categorical", "0.2.0")
        kind.attrs["ordered"] = False
        anndata.io.write_elem(kind, "categories", np.array(self.names, object))
        self._grow(obs, "_index", h5py.string_dtype(), "string-array")
        self._grow(kind, "codes", np.int8)
        for column in self.columns:
            self._grow(obs, column, np.float64)
        self._grow(self.file["obsm"], "spatial", np.float64, width=2)
        anndata.io.write_elem(self.file, "uns", unstructured(self.source))

    def _grow(self, group: Any, name: str, dtype: Any, encoding: str = "array", width: int = 0) -> None:
        tail = (width,) if width else ()
        made = group.create_dataset(
            name,
            (0, *tail),
            dtype,
            maxshape=(None, *tail),
            chunks=(ROWS, *tail),
            compression="gzip",
            compression_opts=1,
        )
        _describe(made, encoding, "0.2.0")

    def _append(self, name: str, values: NDArray[Any]) -> None:
        column = self.file[name]
        column.resize(self.count, axis=0)
        column[self.count - len(values) :] = values


class _Disk(io.FileIO):
    """A file that keeps the first error of writing to itself, and from then on what is written in memory: HDF5 does not
    survive a file that it cannot write or close.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        place, length = self.tell(), len(rest)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error, self.kept = error, list[tuple[int, bytes]]()
        if self.error is not None:
            self.kept.append((place, bytes(memoryview(data).cast("B"))))
            self.seek(place + length)
        return length

    def readinto(self, buffer: Any) -> int:
        place, view = self.tell(), memoryview(buffer).cast("B")
        if self.error is None:
            return super().readinto(view) or 0
        found = super().readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        for start, data in self.kept:
            first, last = max(start, place), min(start + len(data), place + len(view))
            if first < last:
                view[first - place : last - place] = data[first - start : last - start]
        self.seek(place + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error, self.kept = error, []
            return size or 0

    def check(self) -> None:
        """Raises the error.

        Raises:
            OSError: something could not be written.
        """
        if self.error is not None:
            raise self.error


def unstructured(source: Source) -> dict[str, Any]:
    """AnnData's `uns`: the class table, its colours and the provenance."""
    classes = source.class_table.nuclei
    table = {
        "name": np.array([c.name for c in classes], object),
        "color": np.array([c.color for c in classes], np.uint8),
        "parent": np.array([c.parent or "" for c in classes], object),
    }
    colors = ["#{:02x}{:02x}{:02x}".format(*c.color) for c in classes]
    return {"class_table": table, "class_name_colors": np.array(colors, object), "monch": source.text}


def _describe(element: Any, encoding: str, version: str) -> None:
    element.attrs["encoding-type"], element.attrs["encoding-version"] = encoding, version
