"""MONCH run in other ways: by layout, with its head folded, compiled, in bfloat16, by ONNX Runtime."""

import copy
import importlib.util

import torch

from benchmarks.measurement import Work, conditions, milliseconds_in_turn
from benchmarks.networks import TILE, build_network, export_onnx, inference, random_tiles
from monch_monai.predict import has_fast_bfloat16


def print_modes(device: str, batch: int, runs: int) -> None:
    """Prints milliseconds a tile of each way, its ratio to the first, and how far its logits are from the first's."""
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
    logits = {name: way() for name, way in ways.items()}
    times = milliseconds_in_turn(ways, device, runs)
    print(f"\n{conditions(device)}; tiles {TILE}x{TILE}, batch {batch}\n")
    print("| MONCH | ms/tile | of eager | largest difference of logits |\n|---|---|---|---|")
    for name, time in times.items():
        same = logits[name].shape == logits["eager"].shape
        difference = f"{float((logits[name] - logits['eager']).abs().max()):.1e}" if same else ""
        print(f"| {name} | {time / batch:.1f} | {time / times['eager']:.3f} | {difference} |")
    if not by_onnx:
        print("| ONNX Runtime | not measured | | |")
    if not has_fast_bfloat16(device):
        print("| bfloat16 | not measured: not in hardware | | |")
