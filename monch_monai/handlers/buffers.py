"""Buffers that all processes of a distributed validation share."""

from ignite.engine import Engine, Events
from torch import distributed, nn


class SharedBuffers:
    """Copies the first process's buffers to all others before an evaluation, so that all evaluate the network it saves.

    Buffers are the running statistics of batch normalisation, which on a CPU each process keeps of its own tiles.

    Args:
        network: as trained, not wrapped.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Copies the buffers."""
        for buffer in self.network.buffers():
            distributed.broadcast(buffer, src=0)
