"""Tables of nuclei as inference wrote them, GeoParquet or GeoJSON, read part by part."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable
from monch_monai.errors import InputError, one_line

NOT_NUMBERS = ("class_index", "class_name", "geometry", "source")
MEASUREMENTS = {"Mean probability": "mean_prob", "Area µm^2": "area_um2", "Circularity": "circularity"}
"""Columns of the table by the names that GeoJSON has for them."""


class Nuclei(NamedTuple):
    """K nuclei of a table.

    Attributes:
        classes: `[K]`, index in the class table.
        geometries: `[K]` outlines, px of level 0.
        numbers: `[K, M]`, a column a name of `number_names`; NaN where the table has none.
    """

    classes: NDArray[np.uint8]
    geometries: NDArray[np.object_]
    numbers: NDArray[np.float64]


class NucleusTable:
    """A file of nuclei.

    Args:
        path: of `nuclei.parquet`, `nuclei.geojson` or `nuclei.geojson.gz`.
        class_table: the classes of the result.

    Attributes:
        number_names: columns of numbers; `x`, `y` (centroid, px of level 0) and `mean_prob` are the first three.
    """

    def __init__(self, path: Path, class_table: ClassTable) -> None:
        self.path, self.class_table = path, class_table
        self.number_names = ["x", "y", "mean_prob"]
        self.is_parquet = path.suffix == ".parquet"
        if self.is_parquet:
            names = pq.read_schema(path).names
            self.number_names += [n for n in names if n not in (*NOT_NUMBERS, *self.number_names)]
        else:
            self.number_names += ["area_um2", "circularity"]

    def parts(self) -> Iterator[Nuclei]:
        """The nuclei, a row group of the file at a time.

        Raises:
            InputError: the file is damaged.
        """
        try:
            if self.is_parquet:
                with pq.ParquetFile(self.path) as file:
                    for group in range(file.num_row_groups):
                        yield self._of_rows(file.read_row_group(group))
            else:
                yield self._of_features(_read_geojson(self.path)["features"])
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, shapely.errors.ShapelyError) as error:
            raise InputError(f"{self.path} cannot be read ({one_line(error, 120)}): segment again") from error

    def _of_rows(self, rows: pa.Table) -> Nuclei:
        numbers = [rows[name].to_numpy().astype(np.float64) for name in self.number_names]
        geometries = shapely.from_wkb(rows["geometry"].to_numpy())
        return Nuclei(rows["class_index"].to_numpy(), geometries, np.stack(numbers, axis=1))

    def _of_features(self, features: list[dict[str, Any]]) -> Nuclei:
        index = {name: i for i, name in enumerate(self.class_table.names)}
        properties = [feature["properties"] for feature in features]
        classes = np.array([index[each["classification"]["name"]] for each in properties], np.uint8)
        geometries = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
        centres = shapely.centroid(geometries)
        numbers = np.full((len(features), len(self.number_names)), np.nan)
        numbers[:, 0], numbers[:, 1] = shapely.get_x(centres).round(3), shapely.get_y(centres).round(3)
        for row, each in enumerate(properties):
            for name, column in MEASUREMENTS.items():
                numbers[row, self.number_names.index(column)] = each["measurements"].get(name, np.nan)
        return Nuclei(classes, geometries, numbers)


def provenance(path: Path) -> dict[str, Any]:
    """The provenance that a file of nuclei states.

    Raises:
        InputError: the file is damaged, or states none.
    """
    try:
        if path.suffix == ".parquet":
            about = json.loads((pq.read_schema(path).metadata or {})[b"monch"])
        else:
            about = _read_geojson(path)["monch"]
        ClassTable.from_dict(about["class_table"])
        if not ("slide" in about or "image" in about):
            raise KeyError("slide")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        stated = f"({type(error).__name__}: {one_line(error, 100)})"
        raise InputError(f"{path} is no table of nuclei of this software {stated}: segment again") from error
    return dict(about)


def _read_geojson(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    read: dict[str, Any] = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    return read
