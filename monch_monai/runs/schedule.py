"""The learning rate over a training."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monch_monai.settings import whole_number


class CooldownLR(LRScheduler):
    """Scheduler of the learning rate, an epoch a step: a slow cosine, then a line to 0.

    Rare classes need a high rate for long; the end of a training needs a low one (cooldown: Hägele et al., 2024).
    """

    def __init__(self, optimizer: Optimizer, epochs: int, cooldown: int = 6, horizon: int = 50) -> None:
        """A training's state records these numbers, so that a resumed training stays on its schedule.

        Args:
            optimizer: whose rate is scheduled.
            epochs: after which the rate is 0, and stays so.
            cooldown: the last of these, in which a line from 1 to 0 multiplies the cosine.
            horizon: epochs in which the cosine alone would fall to 0; `epochs` where that is more.

        Raises:
            InputError: `epochs`, `cooldown` or `horizon` is not a whole number above 0.
        """
        self.epochs = whole_number("epochs", epochs, least=1)
        self.cooldown = whole_number("cooldown", cooldown, least=1)
        self.horizon = max(whole_number("horizon", horizon, least=1), self.epochs)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group of parameters in the coming epoch."""
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]

    def factor(self, epoch: int) -> float:
        """The factor, from 1 to 0, after `epoch` epochs."""
        slow = (1 + math.cos(math.pi * min(epoch, self.epochs) / self.horizon)) / 2
        return slow * min(1, max(0, self.epochs - epoch) / self.cooldown)


def three_quarters(epochs: int, given: int | None = None) -> int:
    """Epoch after which the learning rate drops: `given`, or three quarters of `epochs`, at least 1.

    Raises:
        InputError: an epoch is not a whole number above 0.
    """
    if given is not None:
        return whole_number("learning_rate_drop", given, least=1)
    return max(1, round(0.75 * whole_number("epochs", epochs, least=1)))
