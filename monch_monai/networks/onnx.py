"""The network as ONNX Runtime runs it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monch_monai.errors import InputError


def open_session(path: str | Path, device: str = "cpu") -> Any:
    """ONNX Runtime's session of a file, on the GPU of `device` where this ONNX Runtime can, else on the CPU.

    Raises:
        InputError: ONNX Runtime is not installed, or the file is no ONNX model that it can run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("ONNX Runtime is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    here = torch.device(device)
    providers: list[Any] = ["CPUExecutionProvider"]
    if here.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": here.index or 0}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no common base
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is no ONNX model that can run here ({reason}): export it again") from error


def told_by_onnx(path: str | Path, name: str) -> Any:
    """What an ONNX file of `export_network`'s tells under a name; None where it tells nothing.

    Raises:
        InputError: it cannot be read, or is damaged there.
    """
    told = open_session(path).get_modelmeta().custom_metadata_map.get(name)
    try:
        return None if told is None else json.loads(told)
    except ValueError as error:
        raise InputError(f"{path} is damaged: its {name} is {told!r}; export it again") from error


class OnnxNetwork(nn.Module):
    """A network exported to ONNX, in the place of the one it was exported from.

    On CUDA where ONNX Runtime has it (package onnxruntime-gpu), else on the CPU, in float32 whatever autocast says.

    Args:
        path: file that `export_network` wrote.
        device: of the run, such as `cpu` or `cuda:0`.

    Attributes:
        mean: by channel, of the images it takes, of values in [0, 1].
        std: likewise.

    Raises:
        InputError: there is no such file, it is no ONNX model of `export_network`'s, or ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        super().__init__()
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist: write it with export.json, or give --onnx_file")
        self.session = open_session(path, device)
        self.input_name = self.session.get_inputs()[0].name
        self.about: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        self.encoder_origin = self.about.get("encoder", "unknown")
        try:
            self.mean, self.std = (json.loads(self.about[name]) for name in ("mean", "std"))
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} does not say how its images are normalised: export it again") from error

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T, H, W]` float32 for normalised images `[B, 3, H, W]`."""
        (logits,) = self.session.run(None, {self.input_name: image.float().contiguous().cpu().numpy()})
        return torch.from_numpy(logits).to(image.device)


def network_or_export(network: nn.Module, onnx: str | Path | None = None, device: str = "cpu") -> nn.Module:
    """The export in the file `onnx` where one is given, as an `OnnxNetwork` on `device`, else `network`.

    Raises:
        InputError: the file is no export that can run here.
    """
    return network if onnx is None else OnnxNetwork(onnx, device)
