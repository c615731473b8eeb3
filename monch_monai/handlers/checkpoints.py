"""What a training leaves behind, and how it goes on after an interruption."""

import csv
import io
import logging
import math
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monch_monai.errors import InputError
from monch_monai.files import write_atomically, write_text_atomically
from monch_monai.handlers.progress import loss_of
from monch_monai.metrics import score_rows
from monch_monai.networks import refuse_another_encoder
from monch_monai.settings import flag

logger = logging.getLogger(__name__)

BEST, LAST, STATE, HISTORY = "best.pt", "last.pt", "training_state.pt", "history.csv"


class Checkpoints:
    """Saves a training after each epoch, resumes it, and stops it early when told to.

    Writes to `output_dir`, each file whole or not at all:

    - `best.pt`, `last.pt`: the network, a flat state dict of tensors, of the best validation and of the last epoch;
    - `training_state.pt`: network, optimiser, schedule, epoch and history, from which a killed run goes on;
    - `history.csv`: a row an epoch, one continuous table however often the run was resumed.

    Of several processes the first writes, and the loss is the mean over all. Give it to the trainer, whose output must
    not be decollated, after the handlers that validate and that step the learning rate.

    Args:
        output_dir: the run's folder.
        network: as trained.
        optimizer: its optimiser.
        lr_scheduler: stepped once an epoch.
        evaluator: the one that validates, with the key metric to maximise.
        average: a moving average of `network`, where that is what is validated; then `best.pt` and `last.pt` hold it.
        resume: True goes on from `training_state.pt`.
        patience: epochs without a better key metric after which training stops; 0 never stops early.
    """

    def __init__(
        self,
        output_dir: str | Path,
        network: nn.Module,
        optimizer: Optimizer,
        lr_scheduler: LRScheduler,
        evaluator: Evaluator,
        average: nn.Module | None = None,
        resume: bool | str = False,
        patience: int = 0,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.average = average
        self.evaluator = evaluator
        self.resume = flag("resume", resume)
        self.patience = patience
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Registers with the trainer."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start(self, engine: Engine) -> None:
        """Restores the interrupted training, when resuming.

        Raises:
            InputError: it is damaged, of another network or of another recipe.
        """
        if not self.resume:
            return
        path = self.output_dir / STATE
        try:
            state = torch.load(path, map_location=engine.state.device, weights_only=True)
            refuse_another_encoder(self.network.state_dict(), state["network"], path)
            self._refuse_another_recipe(state, path)
            self.network.load_state_dict(state["network"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        except InputError:
            raise
        except Exception as error:  # unpickling, zip, key and shape errors have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} cannot be resumed from with this config ({reason}): start anew") from error
        self.history = state["history"]
        epoch = engine.state.epoch = state["epoch"]
        engine.state.iteration = state["iteration"]
        self.evaluator.state.best_metric = state["best_metric"]
        self.evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        rate = self.optimizer.param_groups[0]["lr"]
        logger.info("resumed after epoch %d of %s, at its learning rate %g and on its schedule", epoch, path, rate)

    def _refuse_another_recipe(self, state: dict[str, Any], path: Path) -> None:
        """Compares what would load without a word and train on as something else."""
        began = {"a moving average": "average" in state, "a schedule": state["schedule"]}
        goes_on = {"a moving average": self.average is not None, "a schedule": type(self.lr_scheduler).__name__}
        for name in began:
            if began[name] != goes_on[name]:
                told = f"{began[name]} and {goes_on[name]}"
                raise InputError(
                    f"{path} is of another recipe ({name}: {told}): give the overlays that the training began with"
                )

    def start_epoch(self, engine: Engine) -> None:
        """Starts the clock and the loss's mean."""
        self.losses, self.started = [], time.monotonic()

    def count(self, engine: Engine) -> None:
        """Takes a step's loss."""
        self.losses.append(loss_of(engine.state.output))

    def save(self, engine: Engine) -> None:
        """Saves the epoch."""
        epoch, validated = engine.state.epoch, self.evaluator.state
        row: dict[str, float] = {
            "epoch": epoch,
            "loss": _mean_over_processes(self.losses),
            "next_learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self.started, 1),
        }
        if validated.epoch == epoch:
            name = validated.key_metric_name
            row[name] = validated.metrics[name]
            counts = validated.metric_details["image_counts"]
            row |= {f"dice {r.name}": r.dice for r in score_rows(counts.matrix)}
        self.history.append(row)
        if idist.get_rank() == 0:
            self._write(engine, is_best=validated.epoch == epoch == validated.best_metric_epoch)
        if self.patience and validated.epoch == epoch and epoch - validated.best_metric_epoch >= self.patience:
            logger.info("stopped early: no better validation for %d epochs", self.patience)
            engine.terminate()

    def _write(self, engine: Engine, is_best: bool) -> None:
        validated = self.evaluator.state
        kept = self.network if self.average is None else self.average
        for name in (BEST, LAST) if is_best else (LAST,):
            _save(self.output_dir / name, kept.state_dict())
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "schedule": type(self.lr_scheduler).__name__,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "best_metric": validated.best_metric,
            "best_metric_epoch": validated.best_metric_epoch,
            "history": self.history,
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        _save(self.output_dir / STATE, state)
        self._write_history()

    def _write_history(self) -> None:
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in self.history for key in row))
        table = csv.DictWriter(text, columns)
        table.writeheader()
        table.writerows({k: "" if math.isnan(v) else v for k, v in row.items()} for row in self.history)
        write_text_atomically(self.output_dir / HISTORY, text.getvalue())


def _save(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, lambda part: torch.save(content, part))


def _mean_over_processes(losses: list[float]) -> float:
    total = idist.all_reduce(torch.tensor([sum(losses), len(losses)], dtype=torch.float64))
    return float(total[0] / max(float(total[1]), 1.0))
