"""The parquet copy of PanNuke on the Hugging Face hub: images, a mask per nucleus, categories, tissue."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.data.tiles import Tile
from monch_monai.datasets.pannuke.masks import Nucleus, draw
from monch_monai.errors import InputError, one_line
from monch_monai.tissues import TISSUES

COLUMNS = ("image", "instances", "categories", "tissue")
ROWS_AT_ONCE = 16


class ParquetFold:
    """A fold in parquet files as the `datasets` library writes them.

    Nuclei are drawn by category, then in the order of the list: the maps are those of the published arrays, except for
    the order of ids inside a class. The copy has no background channel to compare with.

    Raises:
        InputError: a file is damaged, lacks a column, or its categories or tissues are not PanNuke's.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = sorted(paths)
        self.count = 0
        for path in self.paths:
            try:
                with pyarrow.parquet.ParquetFile(path) as file:
                    self.count += file.metadata.num_rows
                    schema = file.schema_arrow
            except (OSError, pyarrow.ArrowException) as error:
                raise InputError(f"{path} cannot be read as parquet ({one_line(error)}): fetch it again") from error
            if missing := set(COLUMNS) - set(schema.names):
                raise InputError(f"{path} has no column {min(missing)!r}; expected {', '.join(COLUMNS)}")
            metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
            features = metadata.get("info", {}).get("features", {})
            self.tissues = _names(features.get("tissue"))
            names = _names(features.get("categories"))
            expected = [c.name for c in PANNUKE.nuclei]
            in_order = all(e in _plain(name) for e, name in zip(expected, names, strict=False))
            if names and not (in_order and len(names) >= len(expected)):
                raise InputError(f"{path} has the categories {names}; expected are {expected}, in this order")
        shards = {int(of[1]) for path in self.paths if (of := re.search(r"-of-(\d+)", path.name))}
        if shards and shards != {len(self.paths)}:
            found = f"{len(self.paths)} of {max(shards)} files of a fold"
            raise InputError(f"{self.paths[0].parent} has {found}: fetch the rest")
        status = {path.name: path.stat() for path in self.paths}
        self.identity = "; ".join(f"{name} {s.st_size} bytes, time {s.st_mtime_ns}" for name, s in status.items())

    def tiles(self, start: int = 0) -> Iterator[Tile]:
        """Tiles from `start` on.

        Raises:
            InputError: a file is damaged, or a row is not an image with its masks; the message names the row.
        """
        for i, (path, row) in islice(enumerate(self._rows()), start, None):
            name = f"{path}#{i}"
            image = _decode(row["image"], name, "RGB")
            if image.shape != (256, 256, 3):
                raise InputError(f"{name}: the image has shape {list(image.shape)}; expected [256, 256, 3]")
            if len(row["instances"]) != len(row["categories"]):
                raise InputError(f"{name}: {len(row['instances'])} masks with {len(row['categories'])} categories")
            nuclei = []
            for instance, category in zip(row["instances"], row["categories"], strict=True):
                if not 0 <= category < len(PANNUKE.nuclei):
                    raise InputError(f"{name}: category {category}; PanNuke has 0 to {len(PANNUKE.nuclei) - 1}")
                inside = _decode(instance, name, "L") > 0
                if inside.shape != image.shape[:2]:
                    raise InputError(f"{name}: a mask has shape {list(inside.shape)}; expected [256, 256]")
                if inside.any():
                    nuclei.append(Nucleus(category + 1, inside))
            maps = draw(sorted(nuclei, key=lambda nucleus: nucleus.class_index), image.shape[:2])
            yield Tile(image, maps.classes, maps.instances, self._tissue(row["tissue"], name), f"row {i}", maps.remarks)

    def _rows(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in self.paths:
            try:
                with pyarrow.parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
                        yield from ((path, row) for row in batch.to_pylist())
            except (OSError, pyarrow.ArrowException) as error:
                raise InputError(f"{path} is damaged ({one_line(error)}): fetch it again") from error

    def _tissue(self, value: int | str, name: str) -> str:
        """PanNuke's own spelling: the copy writes "Adrenal Gland" and "Head & Neck"."""
        found = value if isinstance(value, str) else dict(enumerate(self.tissues)).get(value, str(value))
        for tissue in TISSUES:
            if _plain(tissue) == _plain(found):
                return tissue
        raise InputError(f"{name}: the tissue {found!r} is none of PanNuke's nineteen")


def _names(feature: Any) -> list[str]:
    """Names of a class label, plain or in a list, in the metadata of the `datasets` library."""
    while feature and "names" not in feature:
        feature = feature.get("feature") if isinstance(feature, dict) else feature[0]
    return list(feature["names"]) if feature else []


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _decode(cell: Any, name: str, mode: str) -> NDArray[np.uint8]:
    data = cell["bytes"] if isinstance(cell, dict) else cell
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert(mode))
    except (OSError, TypeError) as error:
        raise InputError(f"{name}: a picture cannot be read ({error}): fetch the file again") from error
