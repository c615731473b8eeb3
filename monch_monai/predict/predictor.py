"""The network as it is applied to tiles."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.errors import InputError
from monch_monai.predict.engine_network import AT_ONCE, EngineNetwork, expect
from monch_monai.predict.precision import MixedPrecisionInferer
from monch_monai.predict.prediction import Prediction, classify
from monch_monai.settings import by_channel, flag


class Predictor(Protocol):
    """Predicts the classes of tiles, each on its own.

    Attributes:
        class_table: the classes.
    """

    @property
    def class_table(self) -> ClassTable:
        """The classes."""

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]` of 0 to 255.

        What a predictor depends on besides files of weights may stand in a dictionary `settings`.
        """


class NetworkPredictor:
    """Normalises tiles, runs the network, refuses NaN and names classes.

    Args:
        network: logits `[B, T, H, W]` for normalised images `[B, 3, H, W]`; an `OnnxNetwork` runs an export. It is put
            into evaluation and onto the device.
        mean: as in `normalisation`.
        std: as in `normalisation`.
        device: where it runs.
        amp: whether mixed precision is used where the hardware has it.
        compile: whether to compile the network, which takes a minute or two at the first batch.

    Raises:
        InputError: `amp` or `compile` is neither true nor false, or `normalisation` finds none.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        device: str = "cpu",
        amp: bool | str = True,
        compile: bool | str = False,
    ) -> None:
        self.network = network.eval().to(device).to(memory_format=torch.channels_last)
        self.device = device
        self.mean, self.std = normalisation(network, mean, std)
        self.inferer, self.compile = MixedPrecisionInferer(amp=amp), flag("compile", compile)
        architecture = hashlib.sha256(repr(self.network).encode()).hexdigest()
        images = {"mean": list(self.mean), "std": list(self.std)}
        self.settings = {"network": architecture, **images, "amp": self.inferer.amp}
        self.compiled: Any = None
        self.one_by_one = not self.compile and any(isinstance(part, EngineNetwork) for part in self.network.modules())

    @property
    def class_table(self) -> ClassTable:
        """The network's classes; PanNuke's of a network that states none."""
        return getattr(self.network, "class_table", PANNUKE)

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]`.

        Raises:
            NaNError: a logit is NaN.
            InputError: the network has another number of maps than classes.
        """
        images = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits, classes = tile_logits(images, self._run, self.mean, self.std, self.inferer), len(self.class_table)
        if logits.shape[1] != classes + getattr(self.network, "distance_maps", 0):
            has = f"the network has {logits.shape[1]} maps, and class table {self.class_table.name}"
            raise InputError(f"{has} {classes} classes: export the network again, with its classes")
        found, probs, distance = (values.cpu().numpy() for values in classify(logits, classes))
        return Prediction(found[:, 0], probs, distance)

    def expect(self, tiles: int) -> None:
        """Is called with the number of tiles of a slide before they come, by which an engine may be chosen."""
        expect(self.network, tiles)

    def _run(self, images: Tensor) -> Tensor:
        if self.compile and self.compiled is None:
            self.compiled = torch.compile(self.network)
        run = self.compiled or self.network
        if self.one_by_one or images.device.type != "cpu":
            logits: Tensor = run(images)
            return logits
        return torch.cat([run(some) for some in images.split(AT_ONCE)])

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which compiles anew."""
        return {**self.__dict__, "compiled": None}


def normalisation(
    network: Any, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation by channel, of values in [0, 1], that images are normalised by.

    Args:
        network: states them as `mean` and `std`.
        mean: in place of the network's; None takes that.
        std: in place of the network's; None takes that.

    Raises:
        InputError: there is neither, as for an export of another program, or what is given is no three numbers.
    """
    found = getattr(network, "mean", None) if mean is None else by_channel("mean", mean)
    spread = getattr(network, "std", None) if std is None else by_channel("std", std, positive=True)
    if found is None or spread is None:
        raise InputError(
            "the network states no mean and std of its images: give --mean and --std, such as [0.5,0.5,0.5]"
        )
    return found, spread


def tile_logits(
    tiles: Tensor,
    network: Callable[..., Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    inferer: Callable[..., Tensor],
) -> Tensor:
    """Logits `[B, T, H, W]` float32 for RGB tiles `[B, 3, H, W]` of 0 to 255.

    `inferer` applies `network` to normalised tiles; `mean` and `std` are by channel, of values in [0, 1].
    """
    centre, spread = (torch.tensor(v, dtype=torch.float32, device=tiles.device).view(1, 3, 1, 1) for v in (mean, std))
    images = ((tiles / 255 - centre) / spread).contiguous(memory_format=torch.channels_last)
    return inferer(images, network)
