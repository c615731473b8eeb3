"""A network as an engine runs it, a tile a thread."""

import logging
import threading
from bisect import bisect
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from monch_monai.errors import one_line
from monch_monai.predict.engines import OfTile, by_onnxruntime, by_openvino, by_torch, chosen_engine

AGREEMENT = 1e-3
"""Largest difference of a probability between an engine and PyTorch, both in float32."""
LEAST_TILES = 1000
"""Tiles of a slide or image from which on `auto` exports the network: an export takes as long as it then saves."""
COMPARED = 4
"""Tiles on which an engine is held against PyTorch."""
INSTEAD = "PyTorch runs the network"

AT_ONCE = 4
"""Tiles at once on the CPU through a network that no engine computes tile by tile: memory grows with them."""
RUNNING = threading.Lock()
"""Held while a batch is computed, which has all threads; engines are prepared once."""

logger = logging.getLogger(__name__)


class EngineNetwork(nn.Module):
    """A trained network, for inference: tiles are computed one by one, each on one thread, several at once on the CPU.

    So the prediction of a tile depends neither on the others in its batch nor on the number of threads. No thread waits
    for another within a tile, and beside a busy process the free cores take more of the tiles. On the first batch an
    engine is held against PyTorch; where it differs by more than `AGREEMENT`, PyTorch runs instead, with a warning.
    Under mixed precision the engine may differ from float32 twice as much as PyTorch's own mixed precision does. On
    GPUs the network runs as it is. Other attributes are the network's.

    Args:
        network: logits `[B, T + D, H, W]` for normalised images `[B, 3, H, W]`.
        engine: one of `CHOICES`. By `auto` PyTorch runs what has few tiles (`expect`).

    Attributes:
        engine: name of the one chosen.

    Raises:
        InputError: `engine` is unknown, or a package that it needs is not installed.
    """

    def __init__(self, network: nn.Module, engine: str = "torch") -> None:
        super().__init__()
        self.network = network
        self.asked = engine
        self.engine = chosen_engine(engine) if hasattr(network, "folded") else "torch"
        self.least_tiles = LEAST_TILES if engine == "auto" else 0
        self.runs_engine = not self.least_tiles
        self.ready: dict[tuple[Any, ...], OfTile] = {}
        self.threads: ThreadPoolExecutor | None = None
        self.count = 0

    def expect(self, tiles: int) -> None:
        """Is called with the number of tiles of a slide or image before they come."""
        self.runs_engine = tiles >= self.least_tiles

    def __getattr__(self, name: str) -> Any:
        """The network's attribute, where this module has none of the name."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or name in ("network", "folded"):
                raise
            return getattr(self.network, name)

    def extra_repr(self) -> str:
        """The engine asked for; those that `auto` chooses among agree to `AGREEMENT`."""
        return f"engine={self.asked!r}"

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which prepares its engine anew."""
        return {**self.__dict__, "ready": {}, "threads": None}

    def state_dict(self, *args: Any, **settings: Any) -> dict[str, Any]:  # type: ignore[override] # of overloads
        """The network's."""
        state: dict[str, Any] = self.network.state_dict(*args, **settings)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads the network's, and forgets engines of earlier weights."""
        self.ready = {}
        return self.network.load_state_dict(state_dict, strict, assign)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, T + D, H, W]` float32 for images `[B, 3, H, W]`."""
        if images.device.type != "cpu" or torch.compiler.is_compiling():
            logits: Tensor = self.network(images)
            return logits
        with RUNNING:
            count = torch.get_num_threads()
            torch.set_num_threads(1)  # PyTorch's own would wait for each other within each layer, spinning
            try:
                return self._by_tiles(images, count)
            finally:
                torch.set_num_threads(count)

    def _by_tiles(self, images: Tensor, count: int) -> Tensor:
        if self.threads is None:
            self.count = count
            self.threads = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
        run = self._of_tiles(images, torch.is_autocast_enabled("cpu"))
        tiles = [image[None] for image in images]
        # A batch is filled up with its last tile, which need not be computed again.
        own = [n for n in range(len(tiles)) if n == 0 or not torch.equal(tiles[n], tiles[n - 1])]
        found = list(self.threads.map(run, [tiles[n] for n in own]))
        return torch.cat([found[bisect(own, n) - 1] for n in range(len(tiles))])

    def _of_tiles(self, images: Tensor, amp: bool) -> OfTile:
        engine = self.engine if self.runs_engine else "torch"
        size = (amp, *images.shape[-2:])
        if (engine, *size) not in self.ready:
            with torch.autocast("cpu", enabled=False):  # networks are fused, compared and exported in float32
                reference = by_torch(self.network, amp, images.shape[-2:])
                checked = reference if engine == "torch" else self._checked(reference, images[:COMPARED], amp)
            self.ready.update({("torch", *size): reference, (engine, *size): checked})
        return self.ready[(engine, *size)]

    def _checked(self, reference: OfTile, images: Tensor, amp: bool) -> OfTile:
        """The engine, where it agrees with the reference on images `[B, 3, H, W]`; else the reference."""
        try:
            run = self._exported(images[:1], amp)
            expected, bound = _probs(reference, images), AGREEMENT
            if amp:
                exact = _probs(by_torch(self.network, False, images.shape[-2:]), images)
                expected, bound = exact, max(AGREEMENT, 2 * _difference(expected, exact))
            difference = _difference(_probs(run, images), expected)
        except Exception as error:  # exporters and runtimes have no common base
            logger.warning("engine %s cannot run this network (%s): %s", self.engine, one_line(error), INSTEAD)
            return reference
        if not difference <= bound:
            problem = "engine %s differs from PyTorch by %.2g in a probability (at most %.2g): %s"
            logger.warning(problem, self.engine, difference, bound, INSTEAD)
            return reference
        logger.info("network by %s: differs from PyTorch by at most %.1g in a probability", self.engine, difference)
        return run

    def _exported(self, example: Tensor, amp: bool) -> OfTile:
        if self.engine == "openvino":
            return by_openvino(self.network, example, amp, self.count)
        return by_onnxruntime(self.network, example)


def expect(network: nn.Module, tiles: int) -> None:
    """States the number of tiles of a slide or image before they come, to each `EngineNetwork` within `network`."""
    for module in network.modules():
        if isinstance(module, EngineNetwork):
            module.expect(tiles)


def _probs(run: OfTile, images: Tensor) -> Tensor:
    return torch.cat([run(image[None]) for image in images]).sigmoid()


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
