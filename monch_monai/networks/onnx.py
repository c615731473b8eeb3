"""The network as ONNX Runtime runs it."""

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monch_monai.class_table import ClassTable
from monch_monai.encoders import Origin
from monch_monai.errors import InputError, one_line
from monch_monai.files import existing_file, sha256
from monch_monai.networks.provenance import Provenance
from monch_monai.settings import by_channel

logger = logging.getLogger(__name__)


class OnnxNetwork(nn.Module):
    """A network exported to ONNX, in the place of the one it was exported from.

    ONNX Runtime runs it on CUDA where it can (package onnxruntime-gpu), else on the CPU, in float32 whatever autocast
    is set to. The network can be pickled: another process opens the file anew.

    Args:
        path: file that `export_network` wrote, or another of one input `[B, 3, H, W]` and one output
            `[B, T + D, H, W]`, with sizes that are fixed or not.
        device: of the run, such as `cpu` or `cuda:0`.

    Attributes:
        mean: by channel, of the images that the network takes, of values in [0, 1]; None where the file has none.
        std: their standard deviation by channel; None where the file has none.
        provenance: of the exported network; where the file has none, the file's name and hash alone.
        class_table: of the exported network; where the file has none, PanNuke's.

    Raises:
        InputError: the file does not exist or is a folder, is no ONNX model or has damaged metadata; or ONNX Runtime is
            not installed.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        super().__init__()
        remedy = "write it with export.json, or give another (--onnx of slides, --onnx_file of images)"
        self.path, self.device = existing_file(f"onnx {path}", path, remedy), device
        self.mean, self.std = self._normalisation("mean"), self._normalisation("std")
        self.provenance = self._read_provenance()

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T + D, H, W]`, float32 and on the image's device, for normalised images `[B, 3, H, W]`.

        A file of a fixed batch size takes more images in several passes, and fewer filled up with the last one.

        Raises:
            InputError: the file takes images of another height or width, or has another number of maps than classes.
        """
        feed = self.session.get_inputs()[0]
        batch, *sides = (feed.shape[i] for i in (0, 2, 3))
        if any(isinstance(side, int) and side != given for side, given in zip(sides, image.shape[-2:], strict=True)):
            raise InputError(f"onnx {self.path} takes tiles of {sides} px: give --tile_size {sides[0]}")
        count = batch if isinstance(batch, int) else len(image)
        logits = []
        for images in image.detach().float().cpu().split(count):
            filled = torch.cat([images, images[-1:].expand(count - len(images), -1, -1, -1)])
            (found,) = self.session.run(None, {feed.name: filled.contiguous().numpy()})
            logits.append(torch.from_numpy(found[: len(images)]))
            if found.shape[1] != len(self.class_table) + self.distance_maps:
                names = ", ".join(self.class_table.names)
                counts = f"gives {found.shape[1]} maps, for the {len(self.class_table)} classes {names}"
                raise InputError(f"onnx {self.path} {counts}: write it with export.json, which stores its classes")
        return torch.cat(logits).float().to(image.device)

    @property
    def class_table(self) -> ClassTable:
        """The classes, in the order of the maps."""
        return self.provenance.class_table

    @property
    def distance_maps(self) -> int:
        """D: 1 where a distance map follows those of the classes, else 0."""
        return self.provenance.distance_maps

    @cached_property
    def session(self) -> Any:
        """ONNX Runtime's session, opened at its first use in this process."""
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError("ONNX Runtime is not installed: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        device = torch.device(self.device)
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        try:
            session = onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no common base
            problem = f"{self.path} is no ONNX model that can run here ({one_line(error)})"
            raise InputError(f"{problem}: export it again") from error
        logger.info("network by ONNX Runtime, %s", ", ".join(session.get_providers()))
        return session

    def metadata(self, name: str) -> Any:
        """Value that the file stores under a name; None where the file stores none.

        Raises:
            InputError: the value is no JSON.
        """
        text = self.session.get_modelmeta().custom_metadata_map.get(name)
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise self._damaged(name, text) from error

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which opens the file anew."""
        return {name: value for name, value in self.__dict__.items() if name != "session"}

    def _normalisation(self, name: str) -> list[float] | None:
        values = self.metadata(name)
        try:
            return None if values is None else list(by_channel(name, values, positive=name == "std"))
        except InputError as error:
            raise self._damaged(name, values) from error

    def _read_provenance(self) -> Provenance:
        earlier = self.session.get_modelmeta().custom_metadata_map.get("encoder")
        record = self.metadata("provenance")
        if record is None and earlier is not None:
            return Provenance.from_earlier(earlier)
        if record is None:
            weights = Origin("file", self.path.name, sha256=sha256(self.path))
            return Provenance(type(self).__name__, weights, version=None)
        try:
            return Provenance.from_dict(record)
        except (TypeError, KeyError, ValueError) as error:
            raise self._damaged("provenance", record) from error

    def _damaged(self, name: str, value: object) -> InputError:
        return InputError(f"{self.path} is damaged: its {name} is {str(value)[:80]!r}; export it again")


def refuse_words_of_export(words: str | Path | None, onnx: str | Path | None) -> None:
    """Refuses other words for an export, whose head is folded to those it was exported with.

    Raises:
        InputError: both are given.
    """
    if words is not None and onnx is not None:
        raise InputError(f"onnx {onnx} has the words it was exported with: leave --words out, or export with --words")


def network_or_export(network: nn.Module, onnx: str | Path | None = None, device: str = "cpu") -> nn.Module:
    """The export in the file `onnx` where one is given, as an `OnnxNetwork` on `device`, else `network`.

    Raises:
        InputError: the file is no export that can run here.
    """
    return network if onnx is None else OnnxNetwork(onnx, device)
