"""The figure of words in a tile: a row a class, a column a map, and a caption a sentence."""

import textwrap
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable
from monch_monai.overlay import draw_contours
from monch_monai.predict import class_map
from monch_monai.report.figures import INK, class_color
from monch_monai.report.word_maps import WordMaps

CELL, GAP, BETWEEN, LINE, HEAD, FOOT = 1.25, 0.06, 0.16, 0.13, 0.3, 0.95
"""Inches: a map's side, from map to map, from sentence to sentence, a line of text, room above and below all rows."""
LIMIT = 6.0
"""Logits beyond are of the colours at the ends of the scale: a probability of 0.002 or of 0.998."""
LEAST_SPAN = 0.01
"""Of a scale of attention, so that a map without structure does not look as if it had some."""
TEXT = 7.5
"""Points."""


def draw_word_maps(image: NDArray[np.uint8], maps: WordMaps, class_table: ClassTable) -> Figure:
    """Of each class the head's probability and the attention; of each sentence its attention and its response.

    Attention is drawn from each map's own least to its most, which are printed beneath it, or to `LEAST_SPAN` above the
    least; the other scales are common to all rows. Columns of attention are left out where no stage attends to words.

    Args:
        image: `[H, W, 3]`.
        maps: of that image.
        class_table: the classes of the maps.
    """
    return _Sheet(image, maps, class_table).figure


class _Sheet:
    """The figure while it is drawn."""

    def __init__(self, image: NDArray[np.uint8], maps: WordMaps, class_table: ClassTable) -> None:
        self.image, self.maps, self.table = image, maps, class_table
        self.has_attention = maps.attention is not None
        self.cell_height = CELL * min(1.0, image.shape[0] / image.shape[1])
        self.per_sentence, self.lines = (2, 3) if self.has_attention else (1, 5)
        self.caption_height = LINE * self.lines + 0.07
        first = 3 if self.has_attention else 2
        steps = [CELL + GAP] * first
        self.lefts = [0.1 + sum(steps[:n]) for n in range(first)]
        x = self.lefts[-1] + CELL + BETWEEN
        for _ in maps.captions[0]:
            self.lefts += [x + n * (CELL + GAP) for n in range(self.per_sentence)]
            x = self.lefts[-1] + CELL + BETWEEN
        self.width = x - BETWEEN + 0.1
        self.row_height = self.caption_height + self.cell_height + (0.16 if self.has_attention else 0.0)
        self.height = HEAD + len(class_table) * self.row_height + FOOT
        self.figure = Figure(figsize=(self.width, self.height))
        self.predicted = class_map(torch.from_numpy(maps.logits))[0].numpy()
        self._heads()
        for row in range(len(class_table)):
            self._row(row)
        self._scales()

    def _row(self, row: int) -> None:
        c, maps = self.table.classes[row], self.maps
        colors = [(0, 0, 0), *[k.color if k is c else (0, 0, 0) for k in self.table.nuclei]]
        shown = np.where(self.predicted == row, self.predicted, 0).astype(np.uint8)
        columns = iter(range(len(self.lefts)))
        style = FontProperties(weight="bold", size=TEXT + 2)
        self._text(row, 0, 2 * CELL, c.name, style, class_color(c) if row else INK)
        self._cell(row, next(columns)).imshow(draw_contours(self.image, shown, colors))
        probability = 1 / (1 + np.exp(-maps.logits[row].astype(np.float64)))
        self._heat(row, next(columns), probability, "magma", (0, 1))
        attended = maps.class_attention
        if attended is not None:
            self._attention(row, next(columns), attended[row])
        for s, caption in enumerate(maps.captions[row]):
            at = next(columns)
            self._text(row, at, self.per_sentence * CELL, caption, FontProperties(size=TEXT), INK)
            if maps.attention is not None:
                self._attention(row, at, maps.attention[row, s])
                at = next(columns)
            self._heat(row, at, maps.responses[row, s], "RdBu_r", (-LIMIT, LIMIT))

    def _attention(self, row: int, column: int, values: NDArray[np.float32]) -> None:
        least, most = float(values.min()), float(values.max())
        axes = self._heat(row, column, values, "viridis", (least, max(most, least + LEAST_SPAN)))
        axes.set_xlabel(f"{least:.3f} to {most:.3f}", fontsize=TEXT - 1, labelpad=1.5, color=INK)

    def _heat(
        self, row: int, column: int, values: NDArray[np.floating], colors: str, span: tuple[float, float]
    ) -> Axes:
        axes = self._cell(row, column)
        height, width = self.image.shape[:2]
        extent = (0, width, height, 0)
        axes.imshow(values, cmap=colors, vmin=span[0], vmax=span[1], extent=extent, interpolation="bilinear")
        return axes

    def _cell(self, row: int, column: int) -> Axes:
        y = self._top(row) - self.caption_height - self.cell_height
        axes = self._axes(self.lefts[column], y, CELL, self.cell_height)
        axes.set(xticks=[], yticks=[])
        return axes

    def _heads(self) -> None:
        heads = ["image, predicted", "probability"] + ["attention, class"] * self.has_attention
        for number in range(1, 1 + len(self.maps.captions[0])):
            heads += [f"attention {number}"] * self.has_attention + [f"response {number}"]
        for left, head in zip(self.lefts, heads, strict=True):
            x, y = (left + CELL / 2) / self.width, 1 - 0.12 / self.height
            self.figure.text(x, y, head, ha="center", va="top", fontsize=TEXT + 0.5, color=INK)

    def _scales(self) -> None:
        scales: list[tuple[str, str, Normalize, list[float], list[str] | None]] = [
            ("probability of the class", "magma", Normalize(0, 1), [0, 0.5, 1], None),
            (f"response: logit, ±{LIMIT:g} and beyond", "RdBu_r", Normalize(-LIMIT, LIMIT), [-LIMIT, 0, LIMIT], None),
        ]
        if self.maps.attention is not None:
            equal = 1 / np.prod(self.maps.attention.shape[:2])
            spans = f"attention: range under each map;\ncolours span at least {LEAST_SPAN:g};"
            of_equal = f"{spans}\nequal shares: {equal:.3f} a sentence"
            scales.insert(1, (of_equal, "viridis", Normalize(0, 1), [0, 1], ["least", "most"]))
        share = (self.width - 0.2) / len(scales)
        for n, (title, colors, span, ticks, names) in enumerate(scales):
            axes = self._axes(0.1 + n * share + 0.1 * share, 0.3, 0.8 * share, 0.1)
            self.figure.colorbar(ScalarMappable(span, colors), cax=axes, orientation="horizontal", ticks=ticks)
            axes.set_xticks(ticks, names or [f"{tick:g}" for tick in ticks], fontsize=TEXT)
            axes.set_title(title, fontsize=TEXT, color=INK, pad=3)

    def _text(self, row: int, column: int, width: float, text: str, font: FontProperties, color: Any) -> None:
        shown = _fitted(text, width * 72, self.lines, font)
        x, y = self.lefts[column] / self.width, (self._top(row) - self.caption_height + 0.05) / self.height
        self.figure.text(x, y, shown, va="bottom", linespacing=1.05, font=font, color=color)

    def _top(self, row: int) -> float:
        top: float = self.height - HEAD - row * self.row_height
        return top

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))


def _fitted(text: str, width: float, lines: int, font: FontProperties) -> str:
    """The text in at most so many lines of at most `width` points, with an ellipsis where it has more."""
    size = font.get_size_in_points()
    for letters in range(int(2 * width / size), 1, -1):
        wrapped = textwrap.wrap(text, letters, max_lines=lines, placeholder=" …")
        if all(TextPath((0, 0), line, prop=font).vertices[:, 0].max() <= width for line in wrapped):
            break
    return "\n".join(wrapped)
