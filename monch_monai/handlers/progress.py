"""Progress bars."""

import sys
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar


class Progress:
    """A bar over the batches of each epoch, with the loss where there is one.

    On a terminal it moves; in a log file it prints a line every half minute.

    Args:
        desc: what is being done.
    """

    def __init__(self, desc: str) -> None:
        self.desc = desc

    def attach(self, engine: Engine) -> None:
        """Registers with a trainer or an evaluator."""
        interval = 0.2 if sys.stderr.isatty() else 30.0
        bar = ProgressBar(desc=self.desc, mininterval=interval, maxinterval=interval)
        bar.attach(engine, output_transform=_loss, event_name=Events.ITERATION_COMPLETED)


def loss_of(output: dict[str, Any]) -> float:
    """Loss of a training step, from the trainer's output."""
    loss: float = output["loss"].item()
    return loss


def _loss(output: Any) -> dict[str, float]:
    return {"loss": loss_of(output)} if "loss" in output else {}
