"""The learning rate over a training."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monch_monai.errors import InputError
from monch_monai.settings import number, whole_number


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


def starting_rate_of(
    optimizer: Optimizer,
    scheduler: LRScheduler,
    learning_rate: float | None = None,
    learning_rate_drop: int | None = None,
) -> float:
    """The highest learning rate that an optimiser starts from, before any warm-up, which a run's record states.

    An overlay may bring an optimiser and a scheduler of its own, which may use neither setting.

    Args:
        optimizer: of the training.
        scheduler: of its rate.
        learning_rate: as the run was given it; None where it was not.
        learning_rate_drop: as the run was given it; None where it was not.

    Raises:
        InputError: `learning_rate` is given, and the optimiser starts from another; or `learning_rate_drop` is given,
            and is no milestone of the scheduler.
    """
    rate: float = max(group.get("initial_lr", group["lr"]) for group in optimizer.param_groups)
    if learning_rate is not None and not math.isclose(rate, number("learning_rate", learning_rate)):
        name = type(optimizer).__name__
        remedy = "leave learning_rate out, or give optimizer#lr and its groups @starting_learning_rate"
        raise InputError(f"learning_rate is {learning_rate}, but the config's {name} starts from {rate:g}: {remedy}")
    if learning_rate_drop is not None and int(learning_rate_drop) not in getattr(scheduler, "milestones", ()):
        name = type(scheduler).__name__
        remedy = "leave it out, or make the milestones of lr_scheduler [@drop_epoch]"
        raise InputError(
            f"learning_rate_drop is {learning_rate_drop}, which the config's {name} does not use: {remedy}"
        )
    return rate
