"""Files of results: one small writer a format, which grows on disk while regions are added."""

from monch_monai.writers.formats import (
    FORMATS,
    IMAGE_FORMATS,
    SLIDE_FORMATS,
    Format,
    NucleusFile,
    chosen_formats,
    file_name,
    log_view,
    nucleus_files,
    write_maps,
)
from monch_monai.writers.geojson import GeoJsonFile
from monch_monai.writers.parquet import ParquetFile
from monch_monai.writers.pyramid import TILE, Squares, write_pyramid
from monch_monai.writers.source import Source, provenance

__all__ = [
    "FORMATS", "IMAGE_FORMATS", "SLIDE_FORMATS", "TILE", "Format", "GeoJsonFile", "NucleusFile", "ParquetFile",
    "Source", "Squares", "chosen_formats", "file_name", "log_view", "nucleus_files", "provenance", "write_maps",
    "write_pyramid",
]  # fmt: skip
