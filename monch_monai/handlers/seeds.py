"""Randomness that depends on the seed and the epoch alone."""

import random
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd


class EpochSeeds:
    """Seeds every random generator at the start of each epoch, from the run's seed and the epoch's number.

    Shuffling, augmentation (in workers too) and dropout of an epoch are then the same in a whole and in a resumed run,
    and none of their state needs saving. Of several processes each augments in its own way.

    Args:
        seed: of the run.
        dataset: the training set, whose random transforms are seeded too.
    """

    def __init__(self, seed: int, dataset: Any) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Registers with the trainer, before the epoch's first batch is drawn."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds for the epoch that starts."""
        rank = idist.get_rank()
        entropy = [self.seed, engine.state.epoch, *([rank] if rank > 0 else [])]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (libraries draw from the global generator)
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed)
