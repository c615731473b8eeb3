"""Progress bars."""

import logging
import sys
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

logger = logging.getLogger(__name__)


class Progress:
    """A bar over the batches of each epoch, with the loss where the output has one.

    In a log file the bar moves every ten batches only. Of several processes the first has one.

    Args:
        desc: name of the work, such as `training`.
    """

    def __init__(self, desc: str) -> None:
        self.desc = desc

    def attach(self, engine: Engine) -> None:
        """Registers with a trainer or an evaluator."""
        if idist.get_rank() > 0:
            return
        every = 1 if sys.stderr.isatty() else 10
        bar = ProgressBar(desc=self.desc)
        engine.add_event_handler(Events.STARTED, self.announce)
        bar.attach(engine, output_transform=_loss, event_name=Events.ITERATION_COMPLETED(every=every))

    def announce(self, engine: Engine) -> None:
        """Logs the numbers of images and batches."""
        loader = engine.state.dataloader
        logger.info("%s: %d images in %d batches", self.desc, len(loader.dataset), len(loader))


def loss_of(output: dict[str, Any]) -> float:
    """Loss of a training step, from the trainer's output."""
    loss: float = output["loss"].item()
    return loss


def _loss(output: Any) -> dict[str, float]:
    return {"loss": loss_of(output)} if "loss" in output else {}
