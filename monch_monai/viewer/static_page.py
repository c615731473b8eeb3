"""A small image, or a region of a slide, as a page that opens from disk without a server."""

import base64
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from monch_monai.errors import InputError, one_line, shown
from monch_monai.geometry import Level0Box
from monch_monai.viewer.outline_index import SPAN
from monch_monai.viewer.outline_tiles import OutlineTiles
from monch_monai.viewer.pages import OpenResult, Pages
from monch_monai.viewer.picture_tiles import TILE

MOST_PIXELS, MOST_NUCLEI = 100_000_000, 50_000
"""Of a page: its tiles are files, and its nuclei lie in one script."""
DATA = "data.js"


def write_static_page(pages: Pages, key: str, folder: Path, region: str | None = None) -> Path:
    """Writes `index.html` and its files into a new folder; returns the path of `index.html`.

    Coordinates stay those of the whole slide; nuclei are those whose centroid lies in the region.

    Args:
        pages: what the server would serve.
        key: of the result.
        folder: to make.
        region: `X,Y,WIDTH,HEIGHT` in px of level 0; all of it where None.

    Raises:
        InputError: the folder exists or cannot be written, the region cannot be used, the slide is damaged, or there
            are more pixels or nuclei than a page holds.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"export {folder} exists: give a new folder")
    result = pages.open(key)
    box = _box(region, result)
    rows = np.flatnonzero(result.index.lie_in(box, slice(None)))
    if box.width * box.height > MOST_PIXELS or len(rows) > MOST_NUCLEI:
        found = f"{box.width}x{box.height} px with {len(rows)} nuclei"
        most = f"{MOST_PIXELS:,} px and {MOST_NUCLEI:,} nuclei"
        raise InputError(f"export of {result.result.name} is {found}, at most {most}: give a smaller --region X,Y,W,H")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            _write(part, pages, key, box, rows.tolist())
            part.chmod(0o755)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        problem = f"export {folder} cannot be written ({error.strerror or one_line(error)})"
        raise InputError(f"{problem}: make room or give another folder") from error
    return folder / "index.html"


def _write(folder: Path, pages: Pages, key: str, box: Level0Box, rows: list[int]) -> None:
    result = pages.open(key)
    for name, content in pages.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if name == "index.html":
            content = content.replace(
                b'<script src="palette.js">', b'<script src="data.js"></script>\n<script src="palette.js">'
            )
        (folder / name).write_bytes(content)
    for level in range(result.picture.levels):
        side = TILE << (result.picture.levels - 1 - level)
        (folder / "picture" / str(level)).mkdir(parents=True)
        for x, y in _tiles(box, side):
            if result.picture.has(level, x, y):
                (folder / "picture" / str(level) / f"{x}_{y}.jpg").write_bytes(result.picture.jpeg(level, x, y))
    index, tiles, data = result.index, {}, result.about()
    outlines = OutlineTiles(index, result.slide.size, box)
    for level in range(outlines.levels):
        for x, y in _tiles(box, SPAN << level):
            tiles[f"{level}/{x}_{y}"] = _text(outlines.tile(level, x, y))
    nuclei = index.places[rows].tobytes() + index.probs[rows].tobytes() + index.classes[rows].tobytes()
    data |= {
        "part": [box.x, box.y, box.width, box.height],
        "nuclei": {**result.about_nuclei(), "total": len(rows)},
        "rows": _text(nuclei),
        "tissue": result.tissue,
        "outlines": tiles,
        "numbers": {str(row): result.numbers(row) for row in rows},
    }
    (folder / DATA).write_text(f"const EXPORTED = {json.dumps(data)};\n", encoding="utf-8")


def _tiles(box: Level0Box, side: int) -> list[tuple[int, int]]:
    """Columns and rows of the tiles of a side, px of level 0, that a box meets."""
    columns, rows = range(box.x // side, -(-box.right // side)), range(box.y // side, -(-box.bottom // side))
    return [(x, y) for y in rows for x in columns]


def _box(region: str | None, result: OpenResult) -> Level0Box:
    whole = result.slide.box
    if region is None:
        return whole
    try:
        x, y, width, height = (int(word) for word in region.strip("()[] ").split(","))
    except ValueError as error:
        raise InputError(f"region is {shown(region)}; give X,Y,WIDTH,HEIGHT in whole px of level 0") from error
    inside = Level0Box(x, y, max(width, 0), max(height, 0)).common(whole)
    if not (inside.width and inside.height):
        raise InputError(f"region {shown(region)} lies outside {result.result.name} of {whole.width}x{whole.height} px")
    return inside


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
