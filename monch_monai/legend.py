"""Contour pictures with a legend: classes with their colours and counts, and a scale bar, beneath the tissue."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monch_monai.class_table import ClassTable, Color
from monch_monai.overlay import Picture, draw_contours, halo_color

SMALLEST, LARGEST, PER_TEXT = 12, 60, 80
"""Height of the text in px, and how many times it is the longer side of the picture."""
BAR_SHARE = 0.25
"""Largest share of the picture's width that the scale bar takes."""
ROUND = (1, 2, 5)
"""Lengths of scale bars, µm, times a power of ten."""
INK = (0, 0, 0)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Entry = tuple[str, Color | None]
"""A text, and the colour of the contour before it; None is the scale bar."""


def with_legend(picture: Picture, class_table: ClassTable, mpp: float, counts: Sequence[int] | None = None) -> Picture:
    """The picture `[H, W, 3]` with a white strip beneath it: a scale bar, and the classes of nuclei.

    The picture stays as it is, at the upper left; one that is narrower than an entry of the legend has white beside it.

    Args:
        picture: `[H, W, 3]`.
        class_table: the classes.
        mpp: of the picture, µm per pixel.
        counts: nuclei of each class of nuclei; None states none.
    """
    height, width = picture.shape[:2]
    length = bar_length(width * mpp)
    names = [c.name for c in class_table.nuclei]
    texts = names if counts is None else [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)]
    entries: list[Entry] = [(_length_text(length), None)]
    entries += [(text, c.color) for text, c in zip(texts, class_table.nuclei, strict=True)]
    size = min(max(SMALLEST, max(height, width) // PER_TEXT), LARGEST)
    font, bar = _font(size), max(1, round(length / mpp))
    marks = [bar if color is None else size for _, color in entries]
    widths = [m + size // 2 + math.ceil(font.getlength(t)) for m, (t, _) in zip(marks, entries, strict=True)]
    places, right, rows = _flow(widths, width, size)
    strip = Image.new("RGB", (max(width, right), rows * 2 * size + size // 2), "white")
    draw = ImageDraw.Draw(strip)
    for (x, row), mark, (text, color) in zip(places, marks, entries, strict=True):
        middle = size // 2 + row * 2 * size + size // 2
        if color is None:
            draw.rectangle((x, middle - size // 8, x + mark - 1, middle + size // 8), INK)
        else:
            _draw_swatch(draw, (x, middle - size // 2, x + size - 1, middle - size // 2 + size - 1), color)
        draw.text((x + mark + size // 2, middle), text, INK, font, anchor="lm")
    beside = np.full((height, strip.width - width, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([picture, beside], axis=1), np.asarray(strip)])


def draw_nuclei(
    image: Picture,
    class_map: Picture,
    class_table: ClassTable,
    mpp: float,
    instance_map: np.ndarray | None = None,
    counts: Sequence[int] | None = None,
) -> Picture:
    """The contour picture of an image, `draw_contours` of these arguments in the table's colours, `with_legend`."""
    colors = [c.color for c in class_table.classes]
    return with_legend(draw_contours(image, class_map, colors, instance_map=instance_map), class_table, mpp, counts)


def bar_length(width_um: float) -> float:
    """Longest of 1, 2, 5, 10, 20, 50, … µm, or of tenths, hundredths, … of these, in `BAR_SHARE` of a width in µm."""
    most = width_um * BAR_SHARE
    power = 10.0 ** math.floor(math.log10(most))
    return max(n * power for n in ROUND if n * power <= most * (1 + 1e-9))


def _length_text(um: float) -> str:
    return f"{um:g} µm" if um < 1000 else f"{um / 1000:g} mm"


def _flow(widths: Iterable[int], width: int, size: int) -> tuple[list[tuple[int, int]], int, int]:
    """Place (x, row) of each entry in rows within a width; the right end of the longest row; number of rows."""
    places: list[tuple[int, int]] = []
    x, row, right = size // 2, 0, 0
    for each in widths:
        if places and x + each > width:
            x, row = size // 2, row + 1
        places.append((x, row))
        right = max(right, x + each + size // 2)
        x += each + 2 * size
    return places, right, row + 1


def _draw_swatch(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], color: Color) -> None:
    """A square as a contour is drawn, filled."""
    draw.rectangle(box, color, halo_color(color) if halo_color(color) == INK else color)


@lru_cache(4)
def _font(size: int) -> Font:
    """DejaVu Sans, which matplotlib brings, without an import of matplotlib; else Pillow's own."""
    package = find_spec("matplotlib")
    folders = package.submodule_search_locations if package is not None else None
    files = [Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" for folder in folders or ()]
    found = next((file for file in files if file.is_file()), None)
    return ImageFont.load_default(size) if found is None else ImageFont.truetype(str(found), size)
