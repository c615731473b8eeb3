"""The networks that are measured, built by the bundle's configs, and what is measured of them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from monai.networks.nets import HoVerNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measurement import Work, peak_mib
from monch_monai.class_table import PANNUKE, LabelSets
from monch_monai.networks import Monch, OnnxNetwork, export_network

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
TILE = 256


class Training(NamedTuple):
    """What a config trains: the network, its loss of logits and labels, the optimiser, and tiles a step.

    `labels` are the values of the class maps that it trains on.
    """

    network: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    batch_size: int
    labels: LabelSets


def read_config(device: str, *overlays: str) -> ConfigParser:
    """train.json, from random weights and with the classes of the sample, on `device`.

    Overlays are named by path below bundle/configs, without `.json`: `encoders/sam_b`.
    """
    parser = ConfigParser()
    parser.read_config([CONFIGS / f"{name}.json" for name in ("train", *overlays)])
    parser.update({"device": device, "encoder_weights": "none", "bundle_root": str(CONFIGS.parent)})
    return parser


def build_network(device: str = "cpu", *overlays: str) -> Any:
    """The network of train.json with random weights, channels-last, on `device`; arguments are `read_config`'s."""
    return read_config(device, *overlays).get_parsed_content("network")


def build_training(device: str, *overlays: str) -> Training:
    """What train.json trains, with training's normalisation and text features; arguments are `read_config`'s."""
    parser = read_config(device, *overlays)
    parser.get_parsed_content("weights")
    network, loss, optimizer, labels = map(parser.get_parsed_content, ("network", "loss", "optimizer", "tile_labels"))
    return Training(network, loss, optimizer, parser["batch_size"], labels.sets)


def build_hovernet() -> nn.Module:
    """MONAI's HoVerNet in fast mode, 256 px in and 164 px out, a type each of PanNuke's classes."""
    return HoVerNet(mode="fast", in_channels=3, out_classes=len(PANNUKE))


def export_onnx(network: Monch) -> OnnxNetwork:
    """The network as ONNX Runtime runs it on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = export_network(network, folder, "onnx")
        return OnnxNetwork(path)


def random_tiles(batch: int, device: str) -> Tensor:
    """Normal noise `[batch, 3, 256, 256]`, channels-last."""
    return torch.randn(batch, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)


def tensors(output: Any) -> list[Tensor]:
    """The tensors that a network returned: one, several, or several by name."""
    if isinstance(output, Tensor):
        return [output]
    return list(output.values() if isinstance(output, dict) else output)


def inference(network: Callable[[Tensor], Any], tiles: Tensor, amp: bool = False) -> Work:
    """A forward pass without gradients, with `amp` in bfloat16 autocast."""

    def infer() -> Any:
        with torch.inference_mode(), torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
            return network(tiles)

    return infer


def mean_square(output: Any) -> Tensor:
    """A loss for outputs of any form: the sum over its tensors of their mean squares."""
    return torch.stack([t.float().square().mean() for t in tensors(output)]).sum()


def training_step(
    network: Callable[[Tensor], Any],
    tiles: Tensor,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Callable[[Any], Tensor] = mean_square,
    amp: bool = False,
) -> Work:
    """Forward (with `amp` in bfloat16 autocast), loss and backward, and the optimiser's step where there is one.

    The step returns its loss.
    """

    def step() -> Tensor:
        with torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
            output = network(tiles)
        value = loss(output)
        value.backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    return step


def gflops(network: nn.Module, tile: Tensor) -> float:
    """GFLOPs of a forward pass by PyTorch's counter."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(tile)
    return counter.get_total_flops() / 1e9


def million_parameters(network: nn.Module) -> float:
    """Parameters in millions."""
    return sum(p.numel() for p in network.parameters()) / 1e6


def pass_mib(build: Callable[[], nn.Module], device: str, train: bool, batch: int = 1, amp: bool = False) -> float:
    """Peak MiB of a forward pass, or of a training step without an optimiser, above what the network itself takes.

    `build` makes the network in a fresh process, so it is a function of a module or a `partial` of one.
    """
    return peak_mib(_prepare_pass, build, device, train, batch, amp, device=device)


def _prepare_pass(build: Callable[[], nn.Module], device: str, train: bool, batch: int, amp: bool) -> tuple[Work, Work]:
    network = build().to(device=device, memory_format=torch.channels_last).train(train)
    tiles = random_tiles(batch, device)
    return lambda: None, training_step(network, tiles, amp=amp) if train else inference(network, tiles, amp)
