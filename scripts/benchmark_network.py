"""MONCH beside other networks: time, memory, size."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from measuring import Work, conditions, milliseconds_in_turn, peak_mib
from monai.networks.nets import HoVerNet
from monch_monai.inferers import has_fast_bfloat16
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from monch_monai.encoders import ClipResNet50
from monch_monai.networks import Monch

TILE = 256


class Row(NamedTuple):
    """Measurements of one network: parameters in millions, GFLOPs a tile by PyTorch's counter, medians in
    milliseconds, peak memory of inference and of a training step in MiB (of the process on CPU, of the GPU on CUDA).
    """

    name: str
    parameters: float
    gflops: float
    ms_per_tile: float
    ms_per_output_megapixel: float
    inference_mib: float
    ms_per_training_step: float
    training_mib: float


def monch() -> nn.Module:
    """MONCH, as the configs have it."""
    return Monch(ClipResNet50())


def encoder_trunk() -> nn.Module:
    """The bare image encoder: CLIP's whole RN50, to stride 32, without its attention pooling."""
    trunk = ModifiedResNet(layers=[3, 4, 6, 3], output_dim=1024, heads=32)
    trunk.attnpool = nn.Identity()
    return trunk


def encoder_stages() -> nn.Module:
    """The stages of the image encoder that MONCH uses, to stride 16."""
    return ClipResNet50()


def hovernet() -> nn.Module:
    """MONAI's HoVerNet in fast mode, 256 px in and 164 px out, 6 types."""
    return HoVerNet(mode="fast", in_channels=3, out_classes=6)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MONCH": monch,
    "encoder, whole trunk": encoder_trunk,
    "encoder, stages used": encoder_stages,
    "HoVer-Net fast": hovernet,
}


def print_beside(device: str, batch: int, compile: bool, amp: bool, runs: int) -> None:
    """Prints a table of MONCH, its bare image encoder and HoVer-Net, with ratios to MONCH."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    nets = {name: make().to(device=device, memory_format=torch.channels_last) for name, make in NETWORKS.items()}
    tiles = torch.randn(batch, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)
    run = {name: torch.compile(net) if compile else net for name, net in nets.items()}
    output = {name: _output_pixels(net, tiles) for name, net in nets.items()}
    gflops = {name: _gflops(net, tiles[:1]) for name, net in nets.items()}
    for net in nets.values():
        net.eval()
    inference = milliseconds_in_turn({name: _inference(net, tiles, amp) for name, net in run.items()}, device, runs)
    for net in nets.values():
        net.train()
    steps = {name: _training(run[name], torch.optim.Adam(net.parameters()), tiles, amp) for name, net in nets.items()}
    training = milliseconds_in_turn(steps, device, max(3, runs // 3))
    memory = {
        name: [peak_mib(_prepare, name, device, batch, amp, train, device=device) for train in (False, True)]
        for name in nets
    }
    rows = [
        Row(
            name,
            sum(p.numel() for p in net.parameters()) / 1e6,
            gflops[name],
            inference[name] / batch,
            inference[name] / output[name] * 1e6,
            memory[name][0],
            training[name],
            memory[name][1],
        )
        for name, net in nets.items()
    ]
    print(
        f"{conditions(device)}; tiles {TILE}x{TILE}, batch {batch}, channels-last, "
        f"{'bfloat16 autocast' if amp else 'float32'}{', compiled' if compile else ''}"
        f"; bfloat16 by hardware: {'yes' if has_fast_bfloat16(device) else 'no'}\n"
    )
    _print_table(rows)


def _inference(net: Any, tiles: Tensor, amp: bool) -> Work:
    def infer() -> None:
        with torch.inference_mode(), torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
            net(tiles)

    return infer


def _training(net: Any, optimizer: torch.optim.Optimizer | None, tiles: Tensor, amp: bool) -> Work:
    def step() -> None:
        with torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
            outputs = _tensors(net(tiles))
        torch.stack([t.float().square().mean() for t in outputs]).sum().backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()

    return step


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return list(output.values() if isinstance(output, dict) else output)


def _output_pixels(net: nn.Module, tiles: Tensor) -> int:
    """Pixels of the map that the network answers for; an encoder answers for its whole input."""
    with torch.inference_mode():
        first = _tensors(net.eval()(tiles))[0]
    segments = first.shape[-1] > TILE // 4
    return tiles.shape[0] * (first.shape[-1] * first.shape[-2] if segments else TILE * TILE)


def _gflops(net: nn.Module, tile: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(tile)
    return counter.get_total_flops() / 1e9


def _prepare(name: str, device: str, batch: int, amp: bool, train: bool) -> tuple[Work, Work]:
    net = NETWORKS[name]().to(device=device, memory_format=torch.channels_last).train(train)
    tiles = torch.randn(batch, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)
    return lambda: None, _training(net, None, tiles, amp) if train else _inference(net, tiles, amp)


def _print_table(rows: list[Row]) -> None:
    print("| network | M parameters | GFLOPs | ms/tile | ms/output Mpx | MiB | ms/training step | MiB training |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.name} | " + " | ".join(f"{value:.1f}" for value in row[1:]) + " |")
    print("\n| MONCH to … | time | per output Mpx | GFLOPs | training step |\n|---|---|---|---|---|")
    first = rows[0]
    for row in rows[1:]:
        ratios = (
            first.ms_per_tile / row.ms_per_tile,
            first.ms_per_output_megapixel / row.ms_per_output_megapixel,
            first.gflops / row.gflops,
            first.ms_per_training_step / row.ms_per_training_step,
        )
        print(f"| {row.name} | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |")
