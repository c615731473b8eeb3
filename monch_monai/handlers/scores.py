"""The key metric and the table of scores by class."""

import csv
import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from torch import Tensor

from monch_monai.classes import CLASSES
from monch_monai.files import write_text_atomically
from monch_monai.metrics import ScoreRow, confusion_matrix, mean_dice, score_rows

logger = logging.getLogger(__name__)


class MeanDice(Metric):
    """Mean Dice over the nucleus classes present in the set, from pixel counts summed over it (`metrics.mean_dice`).

    Takes an evaluator's decollated output: class maps `pred` and `label`, `[1, H, W]`. Counts of all processes are
    summed, and left in the engine's `state.metric_details["confusion_matrix"]`.
    """

    def __init__(self, output_transform: Callable[[Any], Any] = lambda output: output) -> None:
        self.matrix = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.int64)
        super().__init__(output_transform=output_transform)

    def reset(self) -> None:
        """Forgets all counts."""
        self.matrix = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.int64)

    def update(self, output: list[dict[str, Tensor]]) -> None:
        """Counts a batch."""
        for item in output:
            pred, label = (torch.as_tensor(item[key]).detach().cpu() for key in ("pred", "label"))
            self.matrix += confusion_matrix(pred, label)

    def compute(self) -> float:
        """Mean Dice, NaN where no class is present."""
        self.matrix = idist.all_reduce(self.matrix.to(idist.device())).cpu()
        return mean_dice(self.matrix)

    def completed(self, engine: Engine, name: str) -> None:
        """Leaves score and counts with the engine."""
        super().completed(engine, name)
        engine.state.metric_details["confusion_matrix"] = self.matrix


class ScoreTable:
    """Prints a table of Dice and IoU by class when an evaluation by `MeanDice` is over, and writes it when told where.

    Args:
        output_dir: folder for `scores.csv` and `scores.json`; None writes nothing.
    """

    def __init__(self, output_dir: str | Path | None = None) -> None:
        self.output_dir = output_dir

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Prints and writes."""
        if idist.get_rank() > 0:
            return
        matrix = engine.state.metric_details["confusion_matrix"]
        of = f" of epoch {engine.state.epoch}" if self.output_dir is None else ""
        logger.info("scores%s\n%s", of, format_rows(score_rows(matrix), mean_dice(matrix)))
        if self.output_dir is not None:
            write_scores(Path(self.output_dir), matrix)


def format_rows(rows: list[ScoreRow], mean: float) -> str:
    """The table as text; a class that the truth does not have gets dashes."""

    def number(value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.4f}"

    lines = [f"{'class':<24}{'Dice':>8}{'IoU':>8}{'pixels':>12}"]
    lines += [f"{row.name:<24}{number(row.dice):>8}{number(row.iou):>8}{row.pixels:>12,}" for row in rows]
    return "\n".join([*lines, f"{'mean of nucleus classes':<24}{number(mean):>8}"])


def write_scores(folder: Path, matrix: Tensor) -> None:
    """Writes `scores.csv`, a row a class, and `scores.json`, with the pixel counts (rows truth, columns prediction)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = score_rows(matrix)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(ScoreRow._fields)
    table.writerows([value if value == value else "" for value in row] for row in rows)  # NaN is an empty cell
    scores = {
        "mean_dice": _or_none(mean_dice(matrix)),
        "classes": {row.name: {k: _or_none(v) for k, v in row._asdict().items() if k != "name"} for row in rows},
        "confusion_matrix": matrix.tolist(),
    }
    write_text_atomically(folder / "scores.csv", text.getvalue())
    write_text_atomically(folder / "scores.json", json.dumps(scores, indent=2) + "\n")


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
