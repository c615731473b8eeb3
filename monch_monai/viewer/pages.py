"""What the viewer's addresses hold: the page's own files, and of each result its tiles, outlines and numbers."""

import json
import math
import re
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from monch_monai.slides import Slide
from monch_monai.viewer.nucleus_table import NucleusTable
from monch_monai.viewer.outline_index import SPAN, OutlineIndex
from monch_monai.viewer.outline_tiles import CELL, UNITS, OutlineTiles
from monch_monai.viewer.picture_tiles import TILE, PictureTiles
from monch_monai.viewer.results import Result
from monch_monai.viewer.tissue_outline import tissue_outline

TYPES = {
    ".txt": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
JSON, BYTES, JPEG = "application/json", "application/octet-stream", "image/jpeg"
PAGE = (
    "index.html", "viewer.css", "palette.js", "source.js", "tables.js", "decoding.js", "drawing.js", "outlines.js",
    "overlay.js", "region.js", "panel.js", "place.js", "viewer.js", "pointer.js", "keys.js",
    "openseadragon/openseadragon.min.js", "openseadragon/LICENSE.txt",
)  # fmt: skip
"""Files of the page."""
OPENED = 4
"""Results that are open at a time."""


class Page(NamedTuple):
    """What an address holds: its media type, and the bytes."""

    type: str
    content: bytes


class OpenResult:
    """A result that is looked at.

    Args:
        result: what inference wrote.

    Raises:
        InputError: the slide or image cannot be read.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.slide: Slide = result.open()
        self.picture = PictureTiles(self.slide)

    @cached_property
    def index(self) -> OutlineIndex:
        """Its nuclei."""
        return OutlineIndex.of(NucleusTable(self.result.table, self.result.class_table), self.result.key)

    @cached_property
    def outlines(self) -> OutlineTiles:
        """Tiles of its nuclei."""
        return OutlineTiles(self.index, self.slide.size)

    @cached_property
    def tissue(self) -> list[list[list[float]]]:
        """Outline of its tissue."""
        return tissue_outline(self.result, self.slide)

    def about(self) -> dict[str, Any]:
        """What the page needs first."""
        return {
            "name": self.result.name,
            "file": self.result.picture.name,
            "size": list(self.slide.size),
            "mpp": [self.slide.resolution.x, self.slide.resolution.y],
            "levels": self.picture.levels,
            "tile": TILE,
            "classes": [
                {"index": c.index, "name": c.name, "color": list(c.color)} for c in self.result.class_table.nuclei
            ],
        }

    def about_nuclei(self) -> dict[str, Any]:
        """What the page needs to draw outlines."""
        return {
            "total": len(self.index.classes),
            "levels": self.outlines.levels,
            "diameter": self.index.diameter,
            "dotsFrom": self.outlines.dots_from,
            "span": SPAN,
            "units": UNITS,
            "cell": CELL,
        }

    def nuclei(self) -> bytes:
        """Of all nuclei, as `OutlineIndex` has them: centroids int32, mean probabilities uint16, classes uint8."""
        index = self.index
        return b"".join(array.tobytes() for array in (index.places, index.probs, index.classes))

    def numbers(self, row: int) -> dict[str, float | None]:
        """The numbers of a nucleus by name; None where it has none."""
        values = self.index.numbers[row].tolist()
        return {n: v if math.isfinite(v) else None for n, v in zip(self.index.number_names, values, strict=True)}


class Pages:
    """All pages.

    Args:
        results: what can be looked at.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = {result.key: result for result in results}
        self.lock = threading.Lock()
        self.kept_open = lru_cache(OPENED)(lambda key: OpenResult(self.results[key]))
        self.files = {name: resources.files(__package__).joinpath("page", name).read_bytes() for name in PAGE}
        self.kept = lru_cache(512)(self._outlines)
        key = "/results/([0-9a-f]{16})/"
        self.routes: list[tuple[re.Pattern[str], Callable[..., Page | None]]] = [
            (re.compile(pattern), page)
            for pattern, page in (
                (r"/results\.json", self._list),
                (key + r"about\.json", lambda k: _json(self.open(k).about())),
                (key + r"nuclei\.json", lambda k: _json(self.open(k).about_nuclei())),
                (key + r"nuclei\.bin", lambda k: Page(BYTES, self.open(k).nuclei())),
                (key + r"tissue\.json", lambda k: _json(self.open(k).tissue)),
                (key + r"picture/(\d{1,2})/(\d{1,5})_(\d{1,5})\.jpg", self._picture),
                (key + r"outlines/(\d{1,2})/(\d{1,5})_(\d{1,5})\.bin", self.kept),
                (key + r"nuclei/(\d{1,9})\.json", self._nucleus),
            )
        ]

    def open(self, key: str) -> OpenResult:
        """A result by its key; the last few stay open.

        Raises:
            InputError: the slide or image cannot be read.
        """
        with self.lock:
            return self.kept_open(key)

    def get(self, path: str) -> Page | None:
        """What an address holds, by its path; None where there is no such address.

        Raises:
            InputError: the slide or its table of nuclei is missing or damaged.
        """
        name = "index.html" if path == "/" else path[1:]
        if name in self.files:
            return Page(TYPES[name[name.rindex(".") :]], self.files[name])
        for pattern, page in self.routes:
            found = pattern.fullmatch(path)
            if found is not None:
                key = found.groups()[:1]
                return page(*found.groups()) if not key or key[0] in self.results else None
        return None

    def _list(self) -> Page:
        """Results by name, and where the number of their nuclei is recorded, that."""
        return _json(
            [
                {"key": key, "name": r.name, "nuclei": r.summary.get("nuclei_total"), "missing": not r.picture.exists()}
                for key, r in self.results.items()
            ]
        )

    def _picture(self, key: str, level: str, x: str, y: str) -> Page | None:
        picture = self.open(key).picture
        place = int(level), int(x), int(y)
        return Page(JPEG, picture.jpeg(*place)) if picture.has(*place) else None

    def _outlines(self, key: str, level: str, x: str, y: str) -> Page | None:
        tiles = self.open(key).outlines
        return Page(BYTES, tiles.tile(int(level), int(x), int(y))) if int(level) < tiles.levels else None

    def _nucleus(self, key: str, row: str) -> Page | None:
        result = self.open(key)
        return _json(result.numbers(int(row))) if int(row) < len(result.index.classes) else None


def _json(content: Any) -> Page:
    return Page(JSON, json.dumps(content, default=np.ndarray.tolist).encode())
