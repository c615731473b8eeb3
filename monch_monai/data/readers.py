"""MONAI image readers for the transform `LoadImaged`: tiles of a prepared dataset, and picture files.

All return rows then columns. (MONAI's own reader of pictures returns columns first.)
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from monai.data import ImageReader
from numpy.typing import NDArray

from monch_monai.data.images import check_class_map, read_class_map, read_rgb
from monch_monai.data.tile_labels import TileLabels

TILE = re.compile(r"\.npy#\d+$")
"""Ending of a reference to a tile of a prepared dataset."""


class RGBReader(ImageReader):
    """Reads an RGB image `[H, W, 3]` uint8 from a picture file or from `images.npy#INDEX`."""

    channel_dim: float = -1

    def verify_suffix(self, filename: Any) -> bool:
        """True: `get_data` refuses files that are no images."""
        return True

    def read(self, data: Any, **kwargs: Any) -> list[str]:
        """Names of one file or several. `get_data` reads the pixels: upon an error from here `LoadImaged` would try
        MONAI's own readers, which return columns first.
        """
        names = [data] if isinstance(data, str) or not isinstance(data, Sequence) else data
        return [str(name) for name in names]

    def get_data(self, img: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        """Pixels and metadata of the one file that `read` named."""
        (name,) = img
        return self._pixels(name), {"filename_or_obj": name, "original_channel_dim": self.channel_dim}

    def _pixels(self, name: str) -> NDArray[Any]:
        return _tile(name) if TILE.search(name) else read_rgb(name)


class ClassMapReader(RGBReader):
    """Reads a class map `[H, W]` uint8 from `classes.npy#INDEX`, or from a picture file, whose values are classes.

    Args:
        labels: of the datasets; values returned are those of `labels.sets`.
    """

    channel_dim = float("nan")

    def __init__(self, labels: TileLabels) -> None:
        super().__init__()
        self.labels = labels

    def _pixels(self, name: str) -> NDArray[Any]:
        if not TILE.search(name):
            return read_class_map(name, len(self.labels.sets.table))
        values = check_class_map(_tile(name), name, self.labels.number(name))
        mapped: NDArray[np.uint8] = self.labels.lookup(name)[values]
        return mapped


class InstanceMapReader(ClassMapReader):
    """Reads an instance map `[H, W]` int32 from `instances.npy#INDEX`, and a class map from any other reference."""

    def _pixels(self, name: str) -> NDArray[Any]:
        return read_instance_map(name).astype(np.int32) if "instances.npy#" in name else super()._pixels(name)


def read_instance_map(reference: str) -> NDArray[np.uint16]:
    """Instance map `[H, W]` of a tile, `instances.npy#INDEX`: 0 for background, else a nucleus's id."""
    return _tile(reference)


@cache
def _array(path: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _tile(reference: str) -> NDArray[Any]:
    path, index = reference.rsplit("#", 1)
    return np.array(_array(path)[int(index)])
