"""MONCH exported, beside eager: TorchScript, torch.export and ONNX Runtime, one file each for all sizes."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from benchmarks.measurement import conditions, milliseconds_in_turn
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
    folded, encoder = network.folded(), network.image_encoder
    with tempfile.TemporaryDirectory() as folder:
        exported = export_network(network, folder, properties={"mean": encoder.mean, "std": encoder.std})
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
        print("| batch x H x W | MONCH | ms/image | of eager | largest difference | pixels beyond 1e-4 |")
        print("|---|---|---|---|---|---|")
        for size in SIZES:
            _print_size(size, ways, runs)


def _print_size(size: tuple[int, int, int], ways: dict[str, Callable[[Tensor], Tensor]], runs: int) -> None:
    batch, height, width = size
    images = torch.randn(batch, 3, height, width)
    passes = {name: inference(way, images) for name, way in ways.items()}
    logits = {name: work() for name, work in passes.items()}
    times = milliseconds_in_turn(passes, "cpu", runs, warm_up=1)
    for name, time in times.items():
        difference = (logits[name] - logits["eager"]).abs().amax(dim=1)
        beyond = float((difference > 1e-4).double().mean())
        print(
            f"| {batch}x{height}x{width} | {name} | {time / batch:.1f} | {time / times['eager']:.3f} "
            f"| {float(difference.max()):.1e} | {beyond:.4%} |"
        )
