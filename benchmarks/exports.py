"""MONCH exported, beside eager: TorchScript, torch.export and ONNX Runtime, one file each for all sizes."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from benchmarks.execution_modes import COLUMNS, print_ways
from benchmarks.measurement import conditions, print_head
from benchmarks.networks import build_network, inference
from monch_monai.networks import OnnxNetwork, export_network

SIZES = [(1, 256, 256), (1, 512, 384), (3, 256, 256)]
"""Batch, height, width."""


def print_exports(runs: int = 7) -> None:
    """Prints MONCH eager, compiled, and as exported: TorchScript, torch.export, ONNX Runtime, on this CPU.

    For each size: milliseconds an image, the ratio to eager, and how far the logits are from eager's.

    Args:
        runs: rounds of timing.
    """
    torch.manual_seed(0)
    network = build_network().to(memory_format=torch.contiguous_format).eval()
    folded = network.folded()
    with tempfile.TemporaryDirectory() as folder:
        exported = export_network(network, folder)
        paths = {path.suffix: path for path in exported}
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "eager": network,
            "eager, head folded": folded,
            "compiled, head folded": torch.compile(folded, dynamic=False),
            "TorchScript": torch.jit.load(paths[".ts"]),
            "torch.export": torch.export.load(paths[".pt2"]).module(),
            "ONNX Runtime": OnnxNetwork(paths[".onnx"]),
        }
        sizes = {Path(path).name: f"{path.stat().st_size / 1e6:.0f} MB" for path in exported}
        print(f"{conditions('cpu')}, ONNX Runtime {onnxruntime.__version__}; float32, random weights; {sizes}\n")
        print_head("batch x H x W", "MONCH", *COLUMNS)
        for batch, height, width in SIZES:
            images = torch.randn(batch, 3, height, width)
            passes = {name: inference(way, images) for name, way in ways.items()}
            print_ways(passes, "cpu", runs, batch, f"{batch}x{height}x{width}")
