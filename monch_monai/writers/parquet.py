"""The table of nuclei as GeoParquet."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monch_monai.segmentation import named
from monch_monai.writers.source import Source


class ParquetFile:
    """The table of nuclei as GeoParquet 1.1, a row group a region; coordinates are px of level 0, without a reference
    system.

    Args:
        path: to write.
        source: what the nuclei are of; its provenance is the metadata `monch`.
    """

    def __init__(self, path: Path, source: Source) -> None:
        column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": None}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self.class_table = source.class_table
        metadata = {"geo": json.dumps(geo), "monch": source.text}
        self.writer = pq.ParquetWriter(path, source.named_schema.with_metadata(metadata))

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`."""
        if nuclei.num_rows:
            self.writer.write_table(named(nuclei, self.class_table).cast(self.writer.schema))

    def __enter__(self) -> "ParquetFile":
        """The open file."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the file."""
        self.writer.close()
