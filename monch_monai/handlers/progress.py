"""Progress bars."""

import sys
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar


class Progress:
    """A bar over the batches of each epoch, with the loss where there is one.

    In a log file it moves every ten batches only.

    Args:
        desc: what is being done.
    """

    def __init__(self, desc: str) -> None:
        self.desc = desc

    def attach(self, engine: Engine) -> None:
        """Registers with a trainer or an evaluator."""
        every = 1 if sys.stderr.isatty() else 10
        bar = ProgressBar(desc=self.desc)
        bar.attach(engine, output_transform=_loss, event_name=Events.ITERATION_COMPLETED(every=every))


def loss_of(output: dict[str, Any]) -> float:
    """Loss of a training step, from the trainer's output."""
    loss: float = output["loss"].item()
    return loss


def _loss(output: Any) -> dict[str, float]:
    return {"loss": loss_of(output)} if "loss" in output else {}
