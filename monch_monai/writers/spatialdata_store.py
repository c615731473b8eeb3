"""Nuclei as a SpatialData store: outlines, and a table that annotates them."""

import json
import warnings
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import zarr
from anndata import AnnData
from spatialdata import SpatialData
from spatialdata.models import ShapesModel, TableModel
from spatialdata.transformations import Identity, Scale

from monch_monai.files import PART, remove, replace_folder
from monch_monai.segmentation import named
from monch_monai.writers.h5ad import ROWS, unstructured
from monch_monai.writers.source import Source

SHAPES, TABLE, REGION, INSTANCE = "nuclei", "table", "region", "nucleus_id"
OUTLINES = Path("shapes", SHAPES, "shapes.parquet")


class SpatialDataStore:
    """A SpatialData Zarr store: shapes `nuclei`, and a table `table` of the same numbers that annotates them.

    The shapes hold outlines, class and numbers; the table is the AnnData of `H5adFile`, with the columns `region` and
    `nucleus_id`, from 1. Coordinates are px of level 0 in the coordinate system `global`, and µm in `um`. Columns have
    the names of other files by `keys`. The provenance is `attrs['monch']`. Of no nuclei there are no shapes: the
    package has no empty ones.

    The package writes a store of the first `ROWS` nuclei, and one of each `ROWS` more, whose rows are added to the
    first: to its Zarr arrays a chunk, to its GeoParquet file a row group. The store is renamed to `path` when it is
    whole.

    Args:
        path: folder to write, in the place of an earlier one.
        source: what the nuclei are of.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source, self.count = path, source, 0
        self.columns = keys(["class_name", *(quantity.column for quantity in source.quantities)])
        self.waiting = source.schema.empty_table()

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`.

        Raises:
            OSError: the disk is full.
        """
        self.waiting = pa.concat_tables([self.waiting, nuclei])
        while self.waiting.num_rows >= ROWS:
            self._write(self.waiting[:ROWS])
            self.waiting = self.waiting[ROWS:]

    def __enter__(self) -> "SpatialDataStore":
        """The store to be."""
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(TemporaryDirectory(prefix=PART, dir=self.path.parent)))
        self.made = self.folder / "made"
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Ends the store and gives it its name, unless there was an error.

        Raises:
            OSError: the disk is full.
        """
        with self.stack:
            if kind is None:
                if self.waiting.num_rows or not self.count:
                    self._write(self.waiting)
                if self.count:
                    self.outlines.close()
                    (self.folder / "outlines").replace(self.made / OUTLINES)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # of shapes.parquet, which is no Zarr
                    zarr.consolidate_metadata(self.made)
                replace_folder(self.path, self.made)

    def _write(self, nuclei: pa.Table) -> None:
        store = self.folder / "more" if self.count else self.made
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "zarr v3 autosharding")  # anndata's, of each array
            self._elements(nuclei).write(store, update_sdata_path=False, consolidate_metadata=False)
        if nuclei.num_rows:
            outlines = pq.read_table(store / OUTLINES, memory_map=False)
            if not self.count:
                schema = _of_all(outlines.schema)
                self.outlines = self.stack.enter_context(pq.ParquetWriter(self.folder / "outlines", schema))
            self.outlines.write_table(outlines.cast(self.outlines.schema))
        if self.count:
            _append(zarr.open_group(self.made / "tables" / TABLE), zarr.open_group(store / "tables" / TABLE, mode="r"))
            remove(store)
        self.count += nuclei.num_rows

    def _elements(self, nuclei: pa.Table) -> SpatialData:
        """What the package writes of the nuclei that follow those written."""
        table, names = named(nuclei, self.source.class_table), [c.name for c in self.source.class_table.nuclei]
        columns = {key: table[column].to_numpy() for column, key in self.columns.items()}
        codes = table["class_index"].to_numpy().astype(int) - 1
        columns[self.columns["class_name"]] = pd.Categorical.from_codes(codes, names)
        number = pd.Index(np.arange(self.count + 1, self.count + 1 + len(codes)), name=INSTANCE)
        obs = pd.DataFrame(columns, number.astype(str).rename(None))
        places = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
        made = AnnData(
            np.zeros((len(codes), 0), np.float32), obs, obsm={"spatial": places}, uns=unstructured(self.source)
        )
        attrs = {"monch": self.source.about}
        if not len(codes):
            return SpatialData(tables={TABLE: TableModel.parse(made)}, attrs=attrs)
        outlines = shapely.from_wkb(table["geometry"].to_numpy())
        shapes = geopandas.GeoDataFrame(obs.set_index(number), geometry=outlines)
        made.obs[REGION], made.obs[INSTANCE] = pd.Categorical([SHAPES] * len(codes)), number.to_numpy()
        mpp = self.source.mpp
        systems = {"global": Identity(), "um": Scale([mpp.x, mpp.y], axes=("x", "y"))}
        return SpatialData(
            shapes={SHAPES: ShapesModel.parse(shapes, transformations=systems)},
            tables={TABLE: TableModel.parse(made, region=SHAPES, region_key=REGION, instance_key=INSTANCE)},
            attrs=attrs,
        )


def _of_all(schema: pa.Schema) -> pa.Schema:
    """A schema of GeoParquet without what it states of its rows: GeoParquet 1.1 leaves their bounds to choice."""
    geo = json.loads(schema.metadata[b"geo"])
    geo["columns"]["geometry"].pop("bbox", None)
    geo["columns"]["geometry"]["geometry_types"] = ["Polygon", "MultiPolygon"]
    return schema.with_metadata({**schema.metadata, b"geo": json.dumps(geo).encode()})


def _append(table: Any, more: Any) -> None:
    """Adds the rows of an AnnData in Zarr to those of another, whose chunks are whole."""
    for name, array in more.members(max_depth=None):
        if isinstance(array, zarr.Array) and name.split("/")[0] in ("X", "obs", "obsm") and "/categories" not in name:
            rows = table[name]
            first = rows.shape[0]
            rows.resize((first + array.shape[0], *rows.shape[1:]))
            if array.size:
                rows[first:] = array[:]


def keys(columns: list[str]) -> dict[str, str]:
    """By column its name in SpatialData, which takes letters, digits, `_`, `-` and `.`, and no two that differ in case
    alone: `_` stands for other characters, and a number follows where a name is taken.
    """
    made: dict[str, str] = {}
    taken: set[str] = set()
    for column in columns:
        key = first = "".join(c if c.isalnum() or c in "_-." else "_" for c in column)
        number = 1
        while key.lower() in taken:
            number += 1
            key = f"{first}_{number}"
        taken.add(key.lower())
        made[column] = key
    return made
