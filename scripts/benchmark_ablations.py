"""Forward, the loss of CoNSeP's recipe, backward, Adam: MONCH, its ablations, the U-Net."""

from pathlib import Path

import torch
from benchmark_network import TILE
from measuring import Work, conditions, milliseconds_in_turn
from monai.bundle import ConfigParser
from monch_monai.inferers import has_fast_bfloat16

from monch_monai.classes import CLASSES

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
WHOLE = "MONCH"


def print_ablations(device: str, runs: int) -> None:
    """Prints a row for each network, MONCH first."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    overlays = [*sorted((CONFIGS / "ablations").glob("without_*.json")), CONFIGS / "baselines" / "unet.json"]
    steps = {WHOLE: _step([], device), **{path.stem: _step([path], device) for path in overlays}}
    times = milliseconds_in_turn(steps, device, runs)
    print(
        f"{conditions(device)}; 4 tiles {TILE}x{TILE}, channels-last, bfloat16 autocast, {runs} rounds; "
        f"bfloat16 by hardware: {'yes' if has_fast_bfloat16(device) else 'no'}\n"
    )
    print("| network | ms a step | of MONCH |\n|---|---|---|")
    for name, time in times.items():
        print(f"| {name} | {time:.0f} | {time / times[WHOLE]:.3f} |")


def _step(overlays: list[Path], device: str) -> Work:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "recipes" / "consep.json", *overlays])
    parser["device"] = device
    parser.get_parsed_content("weights")  # gives the network its normalisation, as in training
    network, loss, optimizer = (parser.get_parsed_content(name) for name in ("network", "loss", "optimizer"))
    network.train()
    tiles = torch.randn(parser["batch_size"], 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, len(CLASSES), (len(tiles), 1, TILE, TILE), device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            logits = network(tiles)
        loss(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
