import random

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.transforms import RandRotate90

from monch_monai.handlers import EpochSeeds


def draws(seed, epochs, start_at=0):
    """What every generator gives in each epoch, of a run that starts after epoch `start_at`."""
    dataset = Dataset([torch.arange(16).reshape(1, 4, 4)], transform=RandRotate90(prob=0.9))
    drawn = {}

    def step(engine, batch):
        turned = tuple(tuple(dataset[0].flatten().tolist()) for _ in range(6))
        numbers = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
        drawn[engine.state.epoch] = (*numbers, turned)

    trainer = Engine(step)
    EpochSeeds(seed, dataset).attach(trainer)
    if start_at:
        trainer.load_state_dict({"epoch": start_at, "max_epochs": epochs, "epoch_length": 1})
        trainer.run([0])
    else:
        trainer.run([0], max_epochs=epochs)
    return drawn


def test_an_epoch_draws_the_same_in_every_run_of_the_seed():
    assert draws(1, 2) == draws(1, 2)


def test_an_epoch_draws_the_same_in_a_resumed_run():
    whole, resumed = draws(1, 3), draws(1, 3, start_at=2)
    assert list(resumed) == [3]
    assert resumed[3] == whole[3]


def test_epochs_and_seeds_draw_differently():
    one, other = draws(1, 2), draws(2, 2)
    for kind in range(4):
        assert len({one[1][kind], one[2][kind], other[1][kind], other[2][kind]}) == 4
