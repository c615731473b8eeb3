"""MONCH on each encoder of the bundle: size, work, time, memory."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchmark_network import TILE, _gflops, _inference, _training
from measuring import Work, conditions, milliseconds_in_turn, peak_mib
from monai.bundle import ConfigParser
from torch import nn

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
DEFAULT = "clip_rn50"
SLOW = 300
"""GFLOPs of the whole network from which on it is timed once only on a CPU."""


def print_encoders(device: str, runs: int, only: str) -> None:
    """Prints a row for each encoder, the bundle's default first, as it is measured."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    overlays = sorted(path.stem for path in (CONFIGS / "encoders").glob("*.json"))
    names = [DEFAULT, *(only.split(",") if only else overlays)]
    print(f"{conditions(device)}; MONCH, tiles {TILE}x{TILE}, batch 1, channels-last, float32, {runs} rounds\n")
    columns = ["encoder", "M parameters", "GFLOPs", "MONCH GFLOPs"]
    columns += ["ms/tile", "of RN50", "MiB", "ms/step", "of RN50", "MiB training"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in (_measure(name, device, runs) for name in names):
        print("| " + " | ".join(row) + " |", flush=True)


def build(name: str, device: str) -> nn.Module:
    """MONCH with the encoder of this name, as its overlay has it, on random weights."""
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", *([] if name == DEFAULT else [CONFIGS / "encoders" / f"{name}.json"])])
    network: nn.Module = parser.get_parsed_content("network_def")
    return network.to(device=device, memory_format=torch.channels_last)


def _measure(name: str, device: str, runs: int) -> Iterator[str]:
    tile = _tile(device)
    networks = {DEFAULT: build(DEFAULT, device), name: build(name, device)}  # each beside the default, in turn
    encoder = networks[name].image_encoder
    millions, gflops = sum(p.numel() for p in encoder.parameters()) / 1e6, _gflops(encoder, tile)
    whole = _gflops(networks[name], tile)
    rounds, warm_up = (1, 0) if whole > SLOW and device == "cpu" else (runs, 1)
    passes = {n: _inference(net.eval(), tile, False) for n, net in networks.items()}
    times = milliseconds_in_turn(passes, device, rounds, warm_up)
    steps = {n: _training(net.train(), None, tile, False) for n, net in networks.items()}
    training = milliseconds_in_turn(steps, device, max(1, rounds // 2), warm_up)
    del networks, encoder, passes, steps
    gc.collect()
    mib = [peak_mib(_prepare, name, device, train, device=device) for train in (False, True)]
    yield name
    yield from (f"{value:.1f}" for value in (millions, gflops, whole, times[name]))
    yield f"{times[name] / times[DEFAULT]:.2f}"
    yield f"{mib[0]:.0f}"
    yield f"{training[name]:.0f}"
    yield f"{training[name] / training[DEFAULT]:.2f}"
    yield f"{mib[1]:.0f}"


def _tile(device: str) -> torch.Tensor:
    return torch.randn(1, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)


def _prepare(name: str, device: str, train: bool) -> tuple[Work, Work]:
    network: Any = build(name, device).train(train)
    tile = _tile(device)
    return lambda: None, _training(network, None, tile, False) if train else _inference(network, tile, False)
