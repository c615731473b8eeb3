"""What answers for tiles: the network by PyTorch, eager or compiled, or its export by ONNX Runtime."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import Tensor, nn

from monch_monai.class_map import class_map
from monch_monai.errors import InputError
from monch_monai.inferers import MixedPrecisionInferer
from monch_monai.networks.onnx import open_session
from monch_monai.settings import flag
from monch_monai.slides.stitching import Prediction

logger = logging.getLogger(__name__)


class Predictor(Protocol):
    """Anything that answers for a batch of tiles, each on its own."""

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]` of 0 to 255.

        What bears on it beside files of weights may be told in a dictionary `settings`.
        """


class NetworkPredictor:
    """The network, its head folded where it can be.

    Args:
        network: logits `[B, T, H, W]` for normalised images `[B, 3, H, W]`.
        mean: of each channel, of values in [0, 1].
        std: likewise.
        device: where it runs.
        inferer: how it is applied to a batch; mixed precision by default.
        compile: whether to compile it, which takes a minute or two at the first batch.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        device: str = "cpu",
        inferer: Inferer | None = None,
        compile: bool | str = False,
    ) -> None:
        fold: Callable[[], nn.Module] | None = getattr(network, "folded", None)
        plain = (fold() if fold is not None else network).eval()
        self.network = plain.to(device).to(memory_format=torch.channels_last)
        self.device = device
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))
        self.inferer = inferer if inferer is not None else MixedPrecisionInferer()
        self.compile = flag("compile", compile)
        made_of = hashlib.sha256(repr(self.network).encode()).hexdigest()
        amp = getattr(self.inferer, "amp", None)
        self.settings = {"network": made_of, "mean": list(mean), "std": list(std), "amp": amp}
        self.compiled: Any = None

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]`.

        Raises:
            InputError: a logit is not a number.
        """
        images = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2)
        images = ((images / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return prediction(self.inferer(images, self._run))

    def _run(self, images: Tensor) -> Tensor:
        if self.compile and self.compiled is None:
            self.compiled = torch.compile(self.network)
        logits: Tensor = (self.compiled or self.network)(images)
        return logits

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which compiles anew."""
        return {**self.__dict__, "compiled": None}


class OnnxPredictor:
    """An exported network, by ONNX Runtime. An export takes a fixed number of tiles; fewer are filled up.

    Args:
        path: of the ONNX file; image `[B, 3, H, W]` in, logits `[B, T, H, W]` out.
        mean: of each channel, of values in [0, 1], where the file does not say its own.
        std: likewise.
        device: `cuda` runs on the GPU where this ONNX Runtime can.

    Raises:
        InputError: the file or ONNX Runtime is not there, or it is no ONNX model.
    """

    def __init__(self, path: str | Path, mean: Sequence[float], std: Sequence[float], device: str = "cpu") -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"onnx {self.path} does not exist: give the file of an exported network")
        self.device = device
        self.session: Any = None
        told = self._open().get_modelmeta().custom_metadata_map  # export.json's files know their encoder's
        self.mean, self.std = (
            np.asarray(json.loads(told[name]) if name in told else given, np.float32).reshape(1, 3, 1, 1)
            for name, given in (("mean", mean), ("std", std))
        )
        self.settings = {"mean": self.mean.ravel().tolist(), "std": self.std.ravel().tolist()}

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]`.

        Raises:
            InputError: the export takes tiles of another size, or a logit is not a number.
        """
        session = self._open()
        feed = session.get_inputs()[0]
        images = ((tiles.transpose(0, 3, 1, 2) / np.float32(255) - self.mean) / self.std).astype(np.float32)
        batch, *sides = (feed.shape[i] for i in (0, 2, 3))
        if any(isinstance(side, int) and side != tiles.shape[1] for side in sides):
            raise InputError(f"onnx {self.path} takes tiles of {sides} px: give --tile_size {sides[0]}")
        count = batch if isinstance(batch, int) else len(images)
        logits = []
        for first in range(0, len(images), count):
            some = images[first : first + count]
            filled = np.concatenate([some, np.repeat(some[-1:], count - len(some), axis=0)])
            logits.append(session.run(None, {feed.name: filled})[0][: len(some)])
        return prediction(torch.from_numpy(np.concatenate(logits)))

    def _open(self) -> Any:
        if self.session is None:
            self.session = open_session(self.path, self.device)
            logger.info("network by ONNX Runtime, %s", ", ".join(self.session.get_providers()))
        return self.session

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens the file anew."""
        return {**self.__dict__, "session": None}


def predictor(
    network: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    device: str = "cpu",
    inferer: Inferer | None = None,
    compile: bool | str = False,
    onnx: str | None = None,
) -> NetworkPredictor | OnnxPredictor:
    """The export where one is given, else the network; arguments as of these two."""
    if onnx is not None:
        return OnnxPredictor(onnx, mean, std, device)
    return NetworkPredictor(network, mean, std, device, inferer, compile)


def prediction(logits: Tensor) -> Prediction:
    """Classes and probabilities of logits `[B, T, H, W]`.

    Raises:
        InputError: a logit is not a number.
    """
    if torch.isnan(logits).any():
        raise InputError("the network's logits are NaN; use another checkpoint, or --amp false")
    return Prediction(class_map(logits)[:, 0].cpu().numpy(), logits[:, 1:].sigmoid().half().cpu().numpy())
