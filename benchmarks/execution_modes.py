"""MONCH run in other ways: by layout, with its head folded, compiled, in bfloat16, by ONNX Runtime; and any ways."""

import copy
import importlib.util

import torch

from benchmarks.measurement import Work, conditions, milliseconds_in_turn, print_head, print_row
from benchmarks.networks import TILE, build_network, export_onnx, inference, random_tiles
from monch_monai.predict import has_fast_bfloat16

COLUMNS = ("ms/image", "of eager", "largest difference of logits", "pixels beyond 1e-4")


def print_modes(device: str, batch: int, runs: int) -> None:
    """Prints MONCH run in other ways, as `print_ways` does."""
    torch.manual_seed(0)
    channels_last = random_tiles(batch, device)
    tiles = channels_last.contiguous()
    network = build_network(device).eval()
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    folded = network.folded()
    ways: dict[str, Work] = {
        "eager": inference(plain, tiles),
        "channels-last": inference(network, channels_last),
        "channels-last, head folded": inference(folded, channels_last),
        "the same, compiled": inference(torch.compile(folded), channels_last),
        "MONCH's bare encoder (stages used), channels-last": inference(
            lambda images: network.image_encoder(images)[-1], channels_last
        ),
    }
    if has_fast_bfloat16(device):
        ways["head folded, bfloat16"] = inference(folded, channels_last, amp=True)
        ways["head folded, compiled, bfloat16"] = inference(torch.compile(network.folded()), channels_last, amp=True)
    by_onnx = device == "cpu" and all(map(importlib.util.find_spec, ("onnxruntime", "onnxscript")))
    if by_onnx:
        ways["ONNX Runtime, head folded"] = inference(export_onnx(plain), tiles)
    print(f"\n{conditions(device)}; tiles {TILE}x{TILE}, batch {batch}\n")
    print_head("MONCH", *COLUMNS)
    print_ways(ways, device, runs, batch)
    if not by_onnx:
        print_row("ONNX Runtime", "not measured", *[""] * 3)
    if not has_fast_bfloat16(device):
        print_row("bfloat16", "not measured: not in hardware", *[""] * 3)


def print_ways(ways: dict[str, Work], device: str, runs: int, batch: int, *before: str) -> None:
    """Prints a row a way, below `COLUMNS`: its time, its ratio to `eager`, how far its logits are from `eager`'s."""
    logits = {name: way() for name, way in ways.items()}
    times = milliseconds_in_turn(ways, device, runs)
    for name, time in times.items():
        cells = ["", ""]
        if logits[name].shape == logits["eager"].shape:
            difference = (logits[name] - logits["eager"]).abs().amax(dim=1)
            cells = [f"{float(difference.max()):.1e}", f"{float((difference > 1e-4).double().mean()):.4%}"]
        print_row(*before, name, f"{time / batch:.1f}", f"{time / times['eager']:.3f}", *cells)
