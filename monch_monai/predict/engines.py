"""What computes the network on the CPU: PyTorch, ONNX Runtime or OpenVINO, each a function of one tile."""

import logging
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from monch_monai.errors import InputError
from monch_monai.networks.fused import fused
from monch_monai.settings import word

ENGINES = ("openvino", "onnxruntime", "torch")
"""The fastest first, as measured on one thread (bundle/docs/benchmarks.md)."""
CHOICES = ("auto", *ENGINES)
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "torch": ()}
"""What each engine needs, where a network is not exported yet."""

OfTile = Callable[[Tensor], Tensor]
"""Logits `[1, T, H, W]` float32 of a normalised image `[1, 3, H, W]` on the CPU; may run on several threads at once."""


def chosen_engine(name: str = "torch") -> str:
    """Name of the engine that a setting asks for: `auto` is the fastest whose packages are installed.

    Raises:
        InputError: `name` is none of `CHOICES`, or a package that the engine needs is not installed.
    """
    word("engine", name, CHOICES)
    if name == "auto":
        return next(engine for engine in ENGINES if not _lacking(engine))
    if lacking := _lacking(name):
        raise InputError(f"engine {name} needs {', '.join(lacking)}: pip install {' '.join(lacking)}, or --engine auto")
    return name


def _lacking(engine: str) -> list[str]:
    return [package for package in PACKAGES[engine] if find_spec(package) is None]


def by_torch(network: nn.Module, amp: bool, size: Sequence[int]) -> OfTile:
    """The engine that others are judged by, for tiles of `size` (H, W); `amp` uses bfloat16."""
    plain = fused(network, size)

    def run(image: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            logits: Tensor = plain(image.contiguous(memory_format=torch.channels_last))
        return logits.float()

    return run


def by_openvino(network: Any, example: Tensor, amp: bool, threads: int) -> OfTile:
    """OpenVINO, for tiles of the size of `example [1, 3, H, W]`.

    Args:
        network: has `folded`.
        example: of a tile.
        amp: whether to compute in bfloat16.
        threads: that run it at once, each with one core.
    """
    import openvino

    model = openvino.convert_model(_program(network, example))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if amp else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # a pinned thread waits for its core beside a busy process
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    of_thread = threading.local()

    def run(image: Tensor) -> Tensor:
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        found = of_thread.request.infer([image.contiguous().numpy()])
        return torch.from_numpy(found[0].copy())

    return run


def by_onnxruntime(network: Any, example: Tensor) -> OfTile:
    """ONNX Runtime, in float32, for tiles of the size of `example [1, 3, H, W]`; `network` has `folded`."""
    import onnxruntime

    for name in ("onnx_ir", "onnxscript"):  # log hundreds of steps
        logging.getLogger(name).setLevel(logging.ERROR)
    exported: Any = torch.onnx.export(_program(network, example), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each thread that calls it computes itself
    options.log_severity_level = 3
    content = exported.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: image.contiguous().numpy()})[0])

    return run


def _program(network: Any, example: Tensor) -> torch.export.ExportedProgram:
    plain = network.folded().cpu().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        return torch.export.export(plain, (torch.zeros(example.shape),))
