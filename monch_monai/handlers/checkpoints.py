"""A training's checkpoints, and how it resumes from them."""

import logging
import math
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import EarlyStopHandler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monch_monai.errors import InputError, one_line
from monch_monai.files import refuse_damaged_zip, write_atomically
from monch_monai.handlers.history import History, Row
from monch_monai.networks import refuse_another_encoder
from monch_monai.networks.provenance import read_provenance
from monch_monai.settings import flag, whole_number

logger = logging.getLogger(__name__)

BEST, LAST, STATE, HISTORY = "best.pt", "last.pt", "training_state.pt", "history.csv"


class Checkpoints:
    """Saves a training after each epoch, resumes it, and stops it early.

    Writes to `output_dir`, each file whole or not at all:

    - `best.pt`, `last.pt`: the network, a flat state dict of tensors, of the best validation and of the last epoch;
    - `training_state.pt`: network, optimiser, schedule, epoch and history, from which an interrupted run resumes;
    - `history.csv`: see `History`.

    A NaN or absent key metric is no better than any other. Until a validation has a key metric, `best.pt` is of the
    last epoch. Of several processes the first writes. To be attached to the trainer, whose output must not be
    decollated, after the handlers that validate and that step the learning rate.

    Args:
        output_dir: the run's folder.
        network: as trained.
        optimizer: the network's optimiser.
        lr_scheduler: stepped once an epoch.
        evaluator: the one that validates, with the key metric to maximise.
        average: a moving average of `network`, where that is validated; then `best.pt` and `last.pt` hold the average.
        resume: True resumes from `training_state.pt`.
        patience: epochs without a better validation after which training stops, at a validation; 0 never stops early.
        val_interval: epochs from one validation to the next.

    Raises:
        InputError: `resume` is neither true nor false, `patience` is no whole number of at least 0, or `val_interval`
            none of at least 1.
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
        val_interval: int = 1,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.average, self.evaluator = average, evaluator
        self.parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.parts |= {} if average is None else {"average": average}
        self.resume = flag("resume", resume)
        self.patience = whole_number("patience", patience, least=0)
        self.validations = math.ceil(self.patience / whole_number("val_interval", val_interval, least=1))
        self.history = History(self.output_dir / HISTORY, optimizer, evaluator)
        self.early_stop: EarlyStopHandler | None = None
        self.score = -math.inf

    def attach(self, engine: Engine) -> None:
        """Registers with the trainer."""
        if self.patience:
            self.early_stop = EarlyStopHandler(self.validations, lambda _: self.score, trainer=engine)
        self.history.attach(engine)
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start(self, engine: Engine) -> None:
        """Restores the interrupted training, when resuming.

        Raises:
            InputError: `training_state.pt` is damaged, of another network or of another recipe.
        """
        if not self.resume:
            return
        path = self.output_dir / STATE
        try:
            refuse_damaged_zip(str(path), path)
            state = torch.load(path, map_location=engine.state.device, weights_only=True)
            refuse_another_encoder(self.network.state_dict(), state["network"], path)
            self._refuse_another_recipe(state, path)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.history.rows = state["history"]
            engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        except InputError:
            raise
        except Exception as error:  # unpickling, zip, key and shape errors have no common base
            why = one_line(error)
            raise InputError(f"{path} cannot be resumed from with this config ({why}): start anew") from error
        epoch, rate = engine.state.epoch, self.optimizer.param_groups[0]["lr"]
        logger.info("resumed after epoch %d of %s, at its learning rate %g and on its schedule", epoch, path, rate)
        for score in self.history.scores(since=self._share_best()):
            self._stop_early(engine, score)
        if epoch >= (engine.state.max_epochs or math.inf):
            logger.info("the training in %s was complete: give --epochs above %d to go on", self.output_dir, epoch)

    def _refuse_another_recipe(self, state: dict[str, Any], path: Path) -> None:
        """Refuses a state that would load, but train on as another recipe."""
        began = {"a moving average": "average" in state, "a schedule": state["schedule"]}
        goes_on = {"a moving average": "average" in self.parts, "a schedule": type(self.lr_scheduler).__name__}
        stored, own = (read_provenance(of) for of in (state["network"], self.network.state_dict()))
        if stored is not None and own is not None:
            began["classes"], goes_on["classes"] = stored.class_table.names, own.class_table.names
        for name in began:
            if began[name] != goes_on[name]:
                raise InputError(
                    f"{path} is of another recipe ({name}: {began[name]} and {goes_on[name]}): use the overlays that "
                    "the training began with"
                )
        if stored is not None and own is not None and stored.class_table != own.class_table:
            logger.warning("%s goes on with the words that the training began with, not those of now", path)

    def save(self, engine: Engine) -> None:
        """Saves the epoch, and stops the training where its patience ends."""
        row = self.history.add(engine.state.epoch)
        best, name = self._share_best(), self.history.metric
        if best is None and len(self.history.scores()) == 1 and name in row:
            lacks = "epoch %d has no %s: no nucleus in the validation part; until one has, %s is of the last epoch"
            logger.warning(lacks, row["epoch"], name, BEST)
        if idist.get_rank() == 0:
            self._write(engine, is_best=best is None or best is row)
        if name in row:
            self._stop_early(engine, row[name])

    def _share_best(self) -> Row | None:
        """Row of the best validation, which the evaluator gets too: for MONAI a NaN that comes first is the best."""
        best, state = self.history.best(), self.evaluator.state
        state.best_metric = -1 if best is None else best[self.history.metric]
        state.best_metric_epoch = -1 if best is None else best["epoch"]
        return best

    def _stop_early(self, engine: Engine, score: float) -> None:
        if self.early_stop is None or engine.should_terminate:
            return
        self.score = -math.inf if math.isnan(score) else score
        self.early_stop(engine)
        if engine.should_terminate:
            logger.info("stopped early: no better validation for %d epochs", self.patience)

    def _write(self, engine: Engine, is_best: bool) -> None:
        kept = self.network if self.average is None else self.average
        for name in (BEST, LAST) if is_best else (LAST,):
            _save(self.output_dir / name, kept.state_dict())
        state = {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "schedule": type(self.lr_scheduler).__name__,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "history": self.history.rows,
        }
        _save(self.output_dir / STATE, state)
        self.history.write()


def _save(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, lambda part: torch.save(content, part))
