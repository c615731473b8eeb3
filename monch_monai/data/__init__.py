"""Prepared datasets of tiles, picture files, and how MONAI reads both."""

from pathlib import Path

from monch_monai.data.images import ReadableImages
from monch_monai.data.readers import ClassMapReader, RGBReader
from monch_monai.data.sample import prepare_sample
from monch_monai.data.synthetic import write_synthetic
from monch_monai.data.tiles import Tiles, write_tiles

__all__ = [
    "ClassMapReader",
    "RGBReader",
    "ReadableImages",
    "Tiles",
    "open_tiles",
    "prepare_sample",
    "write_synthetic",
    "write_tiles",
]


def open_tiles(dataset_dir: str | Path | None, sample_dir: str | Path) -> Tiles:
    """The prepared dataset in `dataset_dir`, or where that is None the sample of real tissue, made in `sample_dir`."""
    return Tiles(prepare_sample(sample_dir) if dataset_dir is None else dataset_dir)
