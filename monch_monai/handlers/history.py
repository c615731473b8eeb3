"""The table of a training's epochs."""

import math
import time
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch.optim import Optimizer

from monch_monai.files import write_rows
from monch_monai.handlers.progress import loss_of
from monch_monai.metrics import score_rows

Row = dict[str, float]


class History:
    """A row an epoch: mean loss, next learning rate, seconds and, of a validated epoch, the key metric and Dice.

    One continuous table, however often the training was resumed. The loss is the mean over all processes.

    Args:
        path: the CSV file.
        optimizer: the trainer's, whose rate is recorded.
        evaluator: the one that validates; its key metric is a column.

    Attributes:
        rows: of all epochs so far.
        metric: name of the key metric.
    """

    def __init__(self, path: str | Path, optimizer: Optimizer, evaluator: Evaluator) -> None:
        self.path = Path(path)
        self.optimizer, self.evaluator = optimizer, evaluator
        self.metric = str(evaluator.state.key_metric_name)
        self.rows: list[Row] = []
        self.losses: list[float] = []
        self.started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Registers with the trainer, whose output must not be decollated."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.count)

    def start_epoch(self, engine: Engine) -> None:
        """Starts the clock and the mean of the loss."""
        self.losses, self.started = [], time.monotonic()

    def count(self, engine: Engine) -> None:
        """Adds the loss of a step to the mean."""
        self.losses.append(loss_of(engine.state.output))

    def add(self, epoch: int) -> Row:
        """Adds the row of `epoch`, which has just ended, and returns the row. To be called by all processes."""
        row: Row = {
            "epoch": epoch,
            "loss": _mean_over_processes(self.losses),
            "next_learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self.started, 1),
        }
        state = self.evaluator.state
        if state.epoch == epoch:
            row[self.metric] = float(state.metrics.get(self.metric, math.nan))
            counts = state.metric_details.get("image_counts")
            row |= (
                {} if counts is None else {f"dice {r.name}": r.dice for r in score_rows(counts.matrix, counts.labels)}
            )
        self.rows.append(row)
        return row

    def best(self) -> Row | None:
        """Row of the largest key metric, of equals the first; None where no epoch has one. NaN is none."""
        scored = [row for row in self.rows if not math.isnan(row.get(self.metric, math.nan))]
        return max(scored, key=lambda row: row[self.metric], default=None)

    def scores(self, since: Row | None = None) -> list[float]:
        """Key metrics of the validated epochs, NaN included, from the row `since` on."""
        first = 0 if since is None else self.rows.index(since)
        return [row[self.metric] for row in self.rows[first:] if self.metric in row]

    def write(self) -> None:
        """Writes the file; NaN becomes an empty cell."""
        write_rows(self.path, self.rows)


def _mean_over_processes(losses: list[float]) -> float:
    total = idist.all_reduce(torch.tensor([sum(losses), len(losses)], dtype=torch.float64))
    return float(total[0] / max(float(total[1]), 1.0))
