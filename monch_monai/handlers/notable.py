"""The tiles with the best and the worst scores."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from monch_monai.classes import IGNORE_INDEX
from monch_monai.data import RGBReader
from monch_monai.data.images import write_picture
from monch_monai.handlers.items import gather_by_image, name_of
from monch_monai.handlers.score_files import write_json
from monch_monai.metrics import confusion_matrix, mean_dice
from monch_monai.overlay import draw_contours, draw_mistakes

NUMBER = 4


class Outcome(NamedTuple):
    """One tile: mean Dice over its nucleus classes, class maps `[H, W]`, tissue and source."""

    score: float
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    tissue: str
    source: str


class NotableTiles:
    """Draws the tiles with the lowest and the highest mean Dice: image, truth, prediction, mistakes (Figs. 4 and 7).

    Tiles without nuclei have no Dice and are left out. Writes `tiles/worst_1.png`, …, `tiles/best_1.png`, …, and
    `tiles/tiles.json` with their names and scores.

    Args:
        output_dir: folder of the evaluation.
        number: how many of each.
    """

    def __init__(self, output_dir: str | Path, number: int = NUMBER) -> None:
        self.folder = Path(output_dir) / "tiles"
        self.number = number
        self.outcomes: dict[str, Outcome] = {}

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator of decollated items with class maps `pred` and `label`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Drops all tiles."""
        self.outcomes = {}

    def collect(self, engine: Engine) -> None:
        """Keeps a batch's tiles where they are among the best or the worst so far."""
        given = engine.state.batch if isinstance(engine.state.batch, list) else [{}] * len(engine.state.output)
        for origin, item in zip(given, engine.state.output, strict=True):
            predicted, truth = (torch.as_tensor(item[key]).cpu() for key in ("pred", "label"))
            score = mean_dice(confusion_matrix(predicted, truth).numpy())
            if not math.isnan(score):
                shown, guess = (values[0].numpy().astype(np.uint8) for values in (truth, predicted))
                tissue, of = str(origin.get("tissue", "")), str(origin.get("source", ""))
                self.outcomes[name_of(item)] = Outcome(score, shown, guess, tissue, of)
        self.outcomes = self._notable()

    def write(self, engine: Engine) -> None:
        """Draws the tiles."""
        self.outcomes = gather_by_image(self.outcomes)
        if idist.get_rank() > 0:
            return
        for old in (*self.folder.glob("*.png"), self.folder / "tiles.json"):
            old.unlink(missing_ok=True)
        if not self.outcomes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        ranked = self._ranked()
        half = min(self.number, len(ranked) // 2)
        named = {f"worst_{i}": name for i, name in enumerate(ranked[: half or 1], 1)}
        named |= {f"best_{i}": name for i, name in enumerate(reversed(ranked[len(ranked) - half :]), 1)}
        listed: dict[str, Any] = {}
        for label, name in named.items():
            outcome = self.outcomes[name]
            write_picture(self.folder / f"{label}.png", _row(name, outcome))
            listed[label] = {
                "image": name,
                "mean_dice": outcome.score,
                "tissue": outcome.tissue,
                "source": outcome.source,
            }
        write_json(self.folder / "tiles.json", listed)

    def _ranked(self) -> list[str]:
        return sorted(self.outcomes, key=lambda name: (self.outcomes[name].score, name))

    def _notable(self) -> dict[str, Outcome]:
        ranked = self._ranked()
        kept = ranked if len(ranked) <= 2 * self.number else [*ranked[: self.number], *ranked[-self.number :]]
        return {name: self.outcomes[name] for name in kept}


def _row(name: str, outcome: Outcome) -> NDArray[np.uint8]:
    reader = RGBReader()
    image, _ = reader.get_data(reader.read(name))
    truth = np.where(outcome.truth == IGNORE_INDEX, 0, outcome.truth).astype(np.uint8)
    cells = [
        image,
        draw_contours(image, truth),
        draw_contours(image, outcome.predicted),
    ]
    cells.append(draw_mistakes(image, outcome.truth, outcome.predicted))
    gap = np.full((image.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)][:-1], axis=1)
