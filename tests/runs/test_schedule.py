from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, MultiStepLR

from monch_monai.errors import InputError
from monch_monai.runs import CooldownLR, starting_rate_of


def optimizer(kind: type[Optimizer] = Adam, **settings: float) -> Optimizer:
    return kind([{"params": [torch.zeros(1, requires_grad=True)], **settings}, {"params": [torch.zeros(1)]}])


@pytest.mark.parametrize(
    ("kind", "rate", "schedule"),
    [
        (Adam, 0.02, lambda o: MultiStepLR(o, [3])),
        (SGD, 0.16, lambda o: LinearLR(o, start_factor=0.01)),  # a warm-up changes the rate at once
        (SGD, 0.5, lambda o: CooldownLR(o, 8)),
    ],
)
def test_the_rate_recorded_is_what_the_optimiser_starts_from(
    kind: type[Optimizer], rate: float, schedule: Callable[[Optimizer], LRScheduler]
) -> None:
    made = optimizer(kind, lr=rate)
    assert starting_rate_of(made, schedule(made)) == rate
    assert starting_rate_of(made, schedule(made), learning_rate=rate) == rate


def test_a_rate_that_the_optimiser_does_not_use_is_refused() -> None:
    made = optimizer(SGD, lr=0.16)
    with pytest.raises(InputError, match=r"learning_rate is 0\.001, but the config's SGD starts from 0\.16: leave"):
        starting_rate_of(made, CooldownLR(made, 8), learning_rate=0.001)


def test_a_drop_that_the_schedule_does_not_use_is_refused() -> None:
    made = optimizer(lr=0.02)
    assert starting_rate_of(made, MultiStepLR(made, [5]), learning_rate_drop=5) == 0.02
    for schedule in (MultiStepLR(made, [6]), CooldownLR(made, 8)):
        with pytest.raises(InputError, match=r"learning_rate_drop is 5, which the config's \w+ does not use"):
            starting_rate_of(made, schedule, learning_rate_drop=5)
