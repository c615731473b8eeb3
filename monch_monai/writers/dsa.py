"""Annotations of the Digital Slide Archive: JSON by the schema of large_image."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely

from monch_monai.segmentation import named
from monch_monai.writers.outline import largest_parts
from monch_monai.writers.source import Source


class DsaFile:
    """An annotation of the Digital Slide Archive, written element by element: each nucleus is a closed polyline.

    Coordinates are px of what large_image shows: of level 0, since it too takes the scanned part of a slide for the
    whole, or else of the whole file (`Slide.shown_from`). An element's `group` and `label` are its class, and `user`
    holds its numbers; the provenance is in the annotation's `attributes`.

    Args:
        path: to write.
        source: what the nuclei are of.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.source, self.count = source, 0
        self.file = path.open("w", encoding="utf-8", newline="\n")
        head = {
            "name": "MONCH nuclei",
            "description": f"{source.about['software']}: nuclei of {source.name}"[:1000],
            "attributes": {"monch": {**source.about, **({"origin_in_file": [0, 0]} if any(source.shown_from) else {})}},
        }
        self.file.write(f'{json.dumps(head)[:-1]}, "elements": [\n')

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`."""
        table = named(nuclei, self.source.class_table)
        polygons = largest_parts(shapely.from_wkb(table["geometry"].to_numpy()))
        if any(self.source.shown_from):
            polygons = shapely.transform(polygons, lambda points: points + self.source.shown_from)
        for row, polygon in zip(table.drop_columns("geometry").to_pylist(), polygons, strict=True):
            self.file.write(",\n" if self.count else "")
            self.count += 1
            self.file.write(json.dumps(self._element(row, polygon), separators=(",", ":"), ensure_ascii=False))

    def __enter__(self) -> "DsaFile":
        """The open file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Ends the file; after an error it stays unfinished."""
        with self.file:
            if kind is None:
                self.file.write("\n]}\n")

    def _element(self, row: dict[str, Any], polygon: shapely.Polygon) -> dict[str, Any]:
        red, green, blue = self.source.class_table.classes[row["class_index"]].color
        values = {quantity.column: row[quantity.column] for quantity in self.source.quantities}
        known = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        element = {
            "type": "polyline",
            "closed": True,
            "points": self._points(polygon.exterior),
            "lineColor": f"rgb({red}, {green}, {blue})",
            "group": row["class_name"],
            "label": {"value": row["class_name"]},
            "user": {"nucleus_id": self.count, **known},
        }
        return {**element, "holes": holes} if (holes := [self._points(ring) for ring in polygon.interiors]) else element

    def _points(self, ring: shapely.LinearRing) -> list[list[float]]:
        return [[x, y, 0] for x, y in ring.coords[:-1]]
