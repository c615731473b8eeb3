"""Nuclei as a SpatialData store: outlines, and a table that annotates them."""

import warnings
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata
import geopandas
import pandas as pd
import pyarrow as pa
from spatialdata import SpatialData
from spatialdata.models import ShapesModel, TableModel
from spatialdata.transformations import Identity, Scale

from monch_monai.files import PART, replace_folder
from monch_monai.writers.h5ad import H5adFile
from monch_monai.writers.parquet import ParquetFile
from monch_monai.writers.source import Source

SHAPES, TABLE, REGION, INSTANCE = "nuclei", "table", "region", "nucleus_id"


class SpatialDataStore:
    """A SpatialData Zarr store: shapes `nuclei`, and a table `table` of the same numbers that annotates them.

    The shapes hold outlines, class and numbers; the table is the AnnData of `H5adFile`, with the columns `region` and
    `nucleus_id`, from 1. Coordinates are px of level 0 in the coordinate system `global`, and µm in `um`. Columns have
    the names of other files by `keys`. The provenance is `attrs['monch']`. Of no nuclei there are no shapes: the
    package has no empty ones.

    What is added waits in files beside `path`; the package has all nuclei in memory when it writes them at the end. The
    store is renamed to `path` when it is whole.

    Args:
        path: folder to write, in the place of an earlier one.
        source: what the nuclei are of.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source = path, source

    def add(self, nuclei: pa.Table) -> None:
        """Keeps nuclei, as `Source.schema`.

        Raises:
            OSError: the disk is full.
        """
        self.outlines.add(nuclei)
        self.table.add(nuclei)

    def __enter__(self) -> "SpatialDataStore":
        """The store to be."""
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(TemporaryDirectory(prefix=PART, dir=self.path.parent)))
            stack.push(self._write)
            self.outlines = stack.enter_context(ParquetFile(self.folder / "nuclei.parquet", self.source))
            self.table = stack.enter_context(H5adFile(self.folder / "nuclei.h5ad", self.source))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """Writes the store, unless there was an error.

        Raises:
            OSError: the disk is full.
        """
        self.stack.__exit__(*exception)  # type: ignore[arg-type]

    def _write(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            made = self.folder / "made"
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "zarr v3 autosharding")  # anndata's, of each array
                self._elements().write(made, update_sdata_path=False)
            replace_folder(self.path, made)

    def _elements(self) -> SpatialData:
        columns = ["class_name", *(quantity.column for quantity in self.source.quantities)]
        table = anndata.read_h5ad(self.folder / "nuclei.h5ad")
        table.obs = table.obs.rename(columns=keys(columns))
        attrs = {"monch": self.source.about}
        if table.n_obs == 0:
            return SpatialData(tables={TABLE: TableModel.parse(table)}, attrs=attrs)
        index = table.obs_names.astype(int).rename(INSTANCE)
        outlines = geopandas.read_parquet(self.folder / "nuclei.parquet", columns=["geometry"]).geometry
        shapes = geopandas.GeoDataFrame(table.obs.set_index(index), geometry=outlines.set_axis(index))
        table.obs[REGION], table.obs[INSTANCE] = pd.Categorical([SHAPES] * table.n_obs), index.to_numpy()
        mpp = self.source.mpp
        systems = {"global": Identity(), "um": Scale([mpp.x, mpp.y], axes=("x", "y"))}
        return SpatialData(
            shapes={SHAPES: ShapesModel.parse(shapes, transformations=systems)},
            tables={TABLE: TableModel.parse(table, region=SHAPES, region_key=REGION, instance_key=INSTANCE)},
            attrs=attrs,
        )


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
