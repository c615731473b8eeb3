"""The tiles with the best and the worst scores."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from numpy.typing import NDArray

from monch_monai.classes import IGNORE_INDEX
from monch_monai.data import RGBReader
from monch_monai.data.images import write_picture
from monch_monai.files import write_json
from monch_monai.handlers.items import ImageRecords, class_map_of, name_of, with_origins
from monch_monai.metrics import confusion_matrix, mean_dice
from monch_monai.overlay import draw_contours, draw_mistakes, side_by_side

NUMBER = 4


class Outcome(NamedTuple):
    """One tile: mean Dice over its nucleus classes, class maps `[H, W]`, tissue and source."""

    score: float
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    tissue: str
    source: str


class NotableTiles(ImageRecords[Outcome]):
    """Draws the tiles with the lowest and the highest mean Dice: image, truth, prediction, mistakes (Figs. 4 and 7).

    Tiles without nuclei have no Dice and are left out. Writes `tiles/worst_1.png`, …, `tiles/best_1.png`, …, and
    `tiles/tiles.json` with their names and scores. For an evaluator of decollated items with maps `pred` and `label`.

    Args:
        output_dir: folder of the evaluation.
        number: how many of each.
    """

    def __init__(self, output_dir: str | Path, number: int = NUMBER) -> None:
        super().__init__()
        self.folder = Path(output_dir) / "tiles"
        self.number = number

    def collect(self, engine: Engine) -> None:
        """Keeps a batch's tiles where they are among the best or the worst so far."""
        for origin, item in with_origins(engine):
            predicted, truth = (torch.as_tensor(item[key]).cpu() for key in ("pred", "label"))
            score = mean_dice(confusion_matrix(predicted, truth).numpy())
            if not math.isnan(score):
                truth_map, predicted_map = (class_map_of(item, key) for key in ("label", "pred"))
                tissue, source = str(origin.get("tissue", "")), str(origin.get("source", ""))
                self.records[name_of(item)] = Outcome(score, truth_map, predicted_map, tissue, source)
        self.records = self._notable()

    def write(self, engine: Engine) -> None:
        """Draws the tiles."""
        for old in (*self.folder.glob("*.png"), self.folder / "tiles.json"):
            old.unlink(missing_ok=True)
        if not self.records:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        ranked = self._ranked()
        half = min(self.number, len(ranked) // 2)
        named = {f"worst_{i}": name for i, name in enumerate(ranked[: half or 1], 1)}
        named |= {f"best_{i}": name for i, name in enumerate(reversed(ranked[len(ranked) - half :]), 1)}
        listed: dict[str, Any] = {}
        for label, name in named.items():
            tile = self.records[name]
            write_picture(self.folder / f"{label}.png", _row(name, tile))
            listed[label] = {"image": name, "mean_dice": tile.score, "tissue": tile.tissue, "source": tile.source}
        write_json(self.folder / "tiles.json", listed)

    def _ranked(self) -> list[str]:
        return sorted(self.records, key=lambda name: (self.records[name].score, name))

    def _notable(self) -> dict[str, Outcome]:
        ranked = self._ranked()
        return {name: self.records[name] for name in (*ranked[: self.number], *ranked[-self.number :])}


def _row(name: str, outcome: Outcome) -> NDArray[np.uint8]:
    image, _ = RGBReader().get_data([name])
    truth = np.where(outcome.truth == IGNORE_INDEX, 0, outcome.truth).astype(np.uint8)
    contours = draw_contours(image, truth), draw_contours(image, outcome.predicted)
    return side_by_side(image, *contours, draw_mistakes(image, outcome.truth, outcome.predicted))
