"""MONCH run in other ways: by layout, with its head folded, compiled, in bfloat16, by ONNX Runtime."""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Work, conditions, milliseconds_in_turn
from monch_monai.inferers import has_fast_bfloat16
from torch import Tensor

from monch_monai.encoders import ClipResNet50
from monch_monai.networks import Monch

TILE = 256


def print_ways(device: str, batch: int, runs: int) -> None:
    """Prints milliseconds a tile of each way, its ratio to the first, and how far its logits are from the first's."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    tiles = torch.randn(batch, 3, TILE, TILE, device=device)
    plain = Monch(ClipResNet50()).to(device).eval()
    turned = tiles.to(memory_format=torch.channels_last)
    last = Monch(ClipResNet50()).to(device).eval()
    last.load_state_dict(plain.state_dict())
    last = last.to(memory_format=torch.channels_last)
    folded = last.folded()
    ways: dict[str, Callable[[], Tensor]] = {
        "eager": lambda: plain(tiles),
        "channels-last": lambda: last(turned),
        "channels-last, head folded": lambda: folded(turned),
        "the same, compiled": _bound(torch.compile(folded), turned),
        "MONCH's bare encoder (stages used), channels-last": lambda: last.image_encoder(turned)[-1],
    }
    if has_fast_bfloat16(device):
        ways["head folded, bfloat16"] = _in_bfloat16(folded, turned)
        ways["head folded, compiled, bfloat16"] = _in_bfloat16(torch.compile(last.folded()), turned)
    if device == "cpu" and importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        ways["ONNX Runtime, head folded"] = _by_onnx_runtime(plain.folded(), tiles)
    with torch.inference_mode():
        logits = {name: way() for name, way in ways.items()}
        times = milliseconds_in_turn({name: _without_gradients(way) for name, way in ways.items()}, device, runs)
    print(f"\n{conditions(device)}; tiles {TILE}x{TILE}, batch {batch}\n")
    print("| MONCH | ms/tile | of eager | largest difference of logits |\n|---|---|---|---|")
    for name, time in times.items():
        same = logits[name].shape == logits["eager"].shape
        difference = f"{float((logits[name] - logits['eager']).abs().max()):.1e}" if same else ""
        print(f"| {name} | {time / batch:.1f} | {time / times['eager']:.3f} | {difference} |")
    if "ONNX Runtime, head folded" not in ways:
        print("| ONNX Runtime | not measured | | |")
    if not has_fast_bfloat16(device):
        print("| bfloat16 | not measured: not in hardware | | |")


def _bound(network: Callable[[Tensor], Tensor], tiles: Tensor) -> Callable[[], Tensor]:
    return lambda: network(tiles)


def _in_bfloat16(network: Callable[[Tensor], Tensor], tiles: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.autocast(tiles.device.type, torch.bfloat16):
            return network(tiles)

    return run


def _without_gradients(way: Callable[[], Tensor]) -> Work:
    def run() -> None:
        with torch.inference_mode():
            way()

    return run


def _by_onnx_runtime(network: Monch, tiles: Tensor) -> Callable[[], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "monch.onnx"
        torch.onnx.export(network, (tiles,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: tiles.numpy()}
    return lambda: torch.from_numpy(session.run(None, feed)[0])
