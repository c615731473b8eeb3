"""MONCH exported, beside eager: TorchScript, torch.export and ONNX Runtime, one file each for all sizes."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from measuring import conditions, milliseconds_in_turn
from torch import Tensor

from monch_monai.encoders import ClipResNet50
from monch_monai.networks import Monch, OnnxNetwork, export_network

SIZES = [(1, 256, 256), (1, 512, 384), (3, 256, 256)]
"""Batch, height, width."""
Run = Callable[[Tensor], Tensor]


def print_exports(runs: int) -> None:
    """Prints milliseconds an image, the ratio to eager, and how far the logits are from eager's, by size."""
    torch.manual_seed(0)
    network = Monch(ClipResNet50()).eval()
    folded = network.folded()
    with tempfile.TemporaryDirectory() as folder:
        paths = {path.suffix: path for path in export_network(network, folder)}
        ways: dict[str, Run] = {
            "eager": network,
            "eager, head folded": folded,
            "compiled, head folded": torch.compile(folded, dynamic=False),
            "TorchScript": torch.jit.load(paths[".ts"]),
            "torch.export": torch.export.load(paths[".pt2"]).module(),
            "ONNX Runtime": OnnxNetwork(paths[".onnx"]),
        }
        sizes = {Path(path).name: f"{path.stat().st_size / 1e6:.0f} MB" for path in paths.values()}
        print(f"{conditions('cpu')}, ONNX Runtime {onnxruntime.__version__}; float32, random weights; {sizes}\n")
        print("| batch x H x W | MONCH | ms/image | of eager | largest difference | pixels beyond 1e-4 |")
        print("|---|---|---|---|---|---|")
        for size in SIZES:
            _print_size(size, ways, runs)


@torch.inference_mode()
def _print_size(size: tuple[int, int, int], ways: dict[str, Run], runs: int) -> None:
    batch, height, width = size
    images = torch.randn(batch, 3, height, width)
    logits = {name: way(images) for name, way in ways.items()}
    times = milliseconds_in_turn({name: partial(way, images) for name, way in ways.items()}, "cpu", runs, warm_up=1)
    for name, time in times.items():
        difference = (logits[name] - logits["eager"]).abs().amax(dim=1)
        beyond = float((difference > 1e-4).double().mean())
        print(
            f"| {batch}x{height}x{width} | {name} | {time / batch:.1f} | {time / times['eager']:.3f} "
            f"| {float(difference.max()):.1e} | {beyond:.4%} |"
        )
