"""Forward, the loss of CoNSeP's recipe, backward, Adam: MONCH, its ablations, the U-Net."""

from pathlib import Path

import torch

from benchmarks.measurement import Work, choose_device, conditions, milliseconds_in_turn, print_head, print_row
from benchmarks.networks import CONFIGS, TILE, build_training, random_tiles, training_step

WHOLE = "MONCH"


def print_ablations(device: str = "", runs: int = 7) -> None:
    """Prints a training step of CoNSeP's recipe: MONCH, MONCH without each of its parts, the U-Net.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        runs: rounds of timing.
    """
    device = choose_device(device)
    overlays = [f"ablations/{path.stem}" for path in sorted((CONFIGS / "ablations").glob("without_*.json"))]
    overlays.append("baselines/unet")
    steps = {WHOLE: _step(device), **{Path(name).name: _step(device, name) for name in overlays}}
    times = milliseconds_in_turn(steps, device, runs)
    print(f"{conditions(device)}; 4 tiles {TILE}x{TILE}, channels-last, bfloat16 autocast, {runs} rounds\n")
    print_head("network", "ms a step", "of MONCH")
    for name, time in times.items():
        print_row(name, f"{time:.0f}", f"{time / times[WHOLE]:.3f}")


def _step(device: str, *overlays: str) -> Work:
    network, loss, optimizer, batch_size, labels = build_training(device, "recipes/consep", *overlays)
    target = torch.randint(0, len(labels), (batch_size, 1, TILE, TILE), device=device)
    tiles = random_tiles(batch_size, device)
    return training_step(network.train(), tiles, optimizer, lambda logits: loss(logits.float(), target), amp=True)
