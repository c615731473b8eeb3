"""Nuclei as files that grow while nuclei are added: QuPath's GeoJSON and GeoParquet."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from monch_monai.class_table import ClassTable, NucleusClass
from monch_monai.nuclei.files import classification, feature
from monch_monai.segmentation.nuclei_table import SCHEMA, named


class GeoJsonFile:
    """A GeoJSON FeatureCollection (RFC 7946) that QuPath 0.4 and newer imports, written feature by feature.

    Coordinates are px of level 0, as in QuPath. Where nuclei came from another tool's file, each keeps its Feature;
    class and probability are added.

    Args:
        path: to write; gzip where its name ends in `.gz`.
        about: a member `monch` of the collection.
        class_table: the classes of nuclei.
        originals: Features of another tool, by a nucleus's `source`.
    """

    def __init__(
        self,
        path: Path,
        about: dict[str, Any],
        class_table: ClassTable,
        originals: list[dict[str, Any]] | None = None,
    ) -> None:
        file = gzip.GzipFile(path, "wb", mtime=0) if path.suffix == ".gz" else path.open("wb")  # the same bytes always
        self.file = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        self.classes, self.originals = class_table.classes, originals
        self.count = 0
        self.file.write(f'{{"type":"FeatureCollection","monch":{json.dumps(about)},"features":[\n')

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `nuclei_table.SCHEMA`."""
        for row in nuclei.to_pylist():
            self.file.write(",\n" if self.count else "")
            self.count += 1
            c = self.classes[row["class_index"]]
            made = self._found(row, c) if self.originals is None else _typed(row, c, self.originals[row["source"]])
            self.file.write(json.dumps(made, separators=(",", ":"), ensure_ascii=False))

    def __enter__(self) -> "GeoJsonFile":
        """The open file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Ends the file; after an error it stays unfinished."""
        if kind is None:
            self.file.write("\n]}\n")
        self.file.close()

    def _found(self, row: dict[str, Any], c: NucleusClass) -> dict[str, Any]:
        measurements = {
            "Nucleus id": self.count,
            "Mean probability": row["mean_prob"],
            "Area µm^2": row["area_um2"],
            "Circularity": row["circularity"],
        }
        return feature(shapely.from_wkb(row["geometry"]), c, measurements)


class ParquetFile:
    """The table of nuclei as GeoParquet 1.1, a row group a region; coordinates are px of level 0, without a reference
    system.

    Args:
        path: to write.
        about: kept as the metadata `monch`.
        class_table: the classes of nuclei.
    """

    def __init__(self, path: Path, about: dict[str, Any], class_table: ClassTable) -> None:
        column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": None}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self.class_table = class_table
        schema = named(SCHEMA.empty_table(), class_table).schema.with_metadata(
            {"geo": json.dumps(geo), "monch": json.dumps(about)}
        )
        self.writer = pq.ParquetWriter(path, schema)

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `nuclei_table.SCHEMA`."""
        if nuclei.num_rows:
            self.writer.write_table(named(nuclei, self.class_table).cast(self.writer.schema))

    def __enter__(self) -> "ParquetFile":
        """The open file."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the file."""
        self.writer.close()


def _typed(row: dict[str, Any], c: NucleusClass, original: dict[str, Any]) -> dict[str, Any]:
    """Another tool's Feature with class and probability."""
    properties = original.get("properties") or {}
    earlier = properties.get("measurements") or {}
    if isinstance(earlier, list):  # QuPath 0.3 wrote a list of names and values
        earlier = {one["name"]: one["value"] for one in earlier}
    measurements = {**earlier, "Mean probability": row["mean_prob"]}
    added = {"classification": classification(c), "measurements": measurements}
    return {**original, "properties": {"objectType": "detection", **properties, **added}}
