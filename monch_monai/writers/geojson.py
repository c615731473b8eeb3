"""QuPath's GeoJSON of nuclei."""

import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely

from monch_monai.class_table import NucleusClass
from monch_monai.nuclei.files import classification, feature
from monch_monai.segmentation import feature_quantities
from monch_monai.writers.source import Source


class GeoJsonFile:
    """A GeoJSON FeatureCollection (RFC 7946) that QuPath 0.4 and newer imports, written feature by feature.

    Coordinates are px of level 0, as in QuPath. Where nuclei came from another tool's file, each keeps its Feature;
    class, probability and features are added.

    Args:
        path: to write; gzip where its name ends in `.gz`, without a date, so that the same nuclei are the same bytes.
        source: what the nuclei are of; its provenance is a member `monch` of the collection.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.raw = path.open("wb")
        packed = gzip.GzipFile("", "wb", fileobj=self.raw, mtime=0) if path.suffix == ".gz" else None
        self.file = io.TextIOWrapper(packed or self.raw, encoding="utf-8", newline="\n")
        self.classes, self.originals = source.class_table.classes, source.originals
        self.extra = feature_quantities(source.class_table) if source.features else []
        self.count = 0
        self.file.write(f'{{"type":"FeatureCollection","monch":{source.text},"features":[\n')

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`."""
        for row in nuclei.to_pylist():
            self.file.write(",\n" if self.count else "")
            self.count += 1
            c = self.classes[row["class_index"]]
            made = self._found(row, c) if self.originals is None else self._typed(row, c, self.originals[row["source"]])
            self.file.write(json.dumps(made, separators=(",", ":"), ensure_ascii=False))

    def __enter__(self) -> "GeoJsonFile":
        """The open file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Ends the file; after an error it stays unfinished."""
        with self.raw, self.file:
            if kind is None:
                self.file.write("\n]}\n")

    def _found(self, row: dict[str, Any], c: NucleusClass) -> dict[str, Any]:
        measurements = {
            "Nucleus id": self.count,
            "Mean probability": row["mean_prob"],
            "Area µm^2": row["area_um2"],
            "Circularity": row["circularity"],
            **self._extra(row),
        }
        return feature(shapely.from_wkb(row["geometry"]), c, measurements)

    def _extra(self, row: dict[str, Any]) -> dict[str, float]:
        values = {quantity.label: row[quantity.column] for quantity in self.extra}
        return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}

    def _typed(self, row: dict[str, Any], c: NucleusClass, original: dict[str, Any]) -> dict[str, Any]:
        return typed_feature(original, c, {"Mean probability": row["mean_prob"], **self._extra(row)})


def typed_feature(original: dict[str, Any], c: NucleusClass, measurements: dict[str, float]) -> dict[str, Any]:
    """Another tool's Feature with a class and measurements; members of another form than QuPath's are replaced."""
    properties = original.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    earlier = properties.get("measurements")
    if isinstance(earlier, list):  # QuPath 0.3 wrote a list of names and values
        pairs = [one for one in earlier if isinstance(one, dict) and {"name", "value"} <= {*one}]
        earlier = {one["name"]: one["value"] for one in pairs}
    earlier = earlier if isinstance(earlier, dict) else {}
    added = {"classification": classification(c), "measurements": {**earlier, **measurements}}
    return {**original, "properties": {"objectType": "detection", **properties, **added}}
