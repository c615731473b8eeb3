"""MONCH beside other networks: time, memory, size."""

from collections.abc import Callable

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.execution_modes import print_modes
from benchmarks.measurement import choose_device, conditions, milliseconds_in_turn, print_head, print_row
from benchmarks.networks import TILE
from monch_monai.settings import flag


def build_trunk() -> nn.Module:
    """The bare image encoder: CLIP's whole RN50, to stride 32, without its attention pooling."""
    trunk = ModifiedResNet(layers=[3, 4, 6, 3], output_dim=1024, heads=32)
    trunk.attnpool = nn.Identity()
    return trunk


def build_stages() -> nn.Module:
    """The stages of the image encoder that MONCH uses, to stride 16."""
    return networks.build_network().image_encoder


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "MONCH": networks.build_network,
    "encoder, whole trunk": build_trunk,
    "encoder, stages used": build_stages,
    "HoVer-Net fast": networks.build_hovernet,
}


def print_networks(
    device: str = "",
    batch: int = 1,
    compile: bool | str = False,
    amp: bool | str = False,
    runs: int = 10,
    beside: bool | str = True,
    ways: bool | str = True,
) -> None:
    """Prints MONCH beside its bare image encoder and HoVer-Net, with ratios, and MONCH run in other ways.

    Times are medians over `runs` rounds, each network once a round in turn. Memory is the peak above what a fresh
    process held: of the process on CPU, of the GPU on CUDA. GFLOPs are a tile's, by PyTorch's counter.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        batch: tiles of 256x256 at once, in inference and training.
        compile: torch.compile the networks of the first table.
        amp: bfloat16 autocast in the first table.
        runs: rounds of timing.
        beside: the first table: MONCH beside other networks.
        ways: the second: MONCH by layout, folded, compiled, in bfloat16, by ONNX Runtime where that is installed.
    """
    device = choose_device(device)
    if flag("beside", beside):
        _print_beside(device, batch, flag("compile", compile), flag("amp", amp), runs)
    if flag("ways", ways):
        print_modes(device, batch, runs)


def _print_beside(device: str, batch: int, compile: bool, amp: bool, runs: int) -> None:
    nets = {name: build().to(device=device, memory_format=torch.channels_last) for name, build in BUILDS.items()}
    tiles = networks.random_tiles(batch, device)
    run = {name: torch.compile(net) if compile else net for name, net in nets.items()}
    output = {name: _output_pixels(net, tiles) for name, net in nets.items()}
    works = {name: networks.gflops(net, tiles[:1]) for name, net in nets.items()}
    passes = {name: networks.inference(net.eval(), tiles, amp) for name, net in run.items()}
    times = milliseconds_in_turn(passes, device, runs)
    optimizers = {name: torch.optim.Adam(net.parameters()) for name, net in nets.items()}
    steps = {n: networks.training_step(net.train(), tiles, optimizers[n], amp=amp) for n, net in run.items()}
    training = milliseconds_in_turn(steps, device, max(3, runs // 3))
    columns = {
        "M parameters": {name: networks.million_parameters(net) for name, net in nets.items()},
        "GFLOPs": works,
        "ms/tile": {name: time / batch for name, time in times.items()},
        "ms/output Mpx": {name: time / output[name] * 1e6 for name, time in times.items()},
        "MiB": {name: networks.pass_mib(build, device, False, batch, amp) for name, build in BUILDS.items()},
        "ms/training step": training,
        "MiB training": {name: networks.pass_mib(build, device, True, batch, amp) for name, build in BUILDS.items()},
    }
    print(
        f"{conditions(device)}; tiles {TILE}x{TILE}, batch {batch}, channels-last, "
        f"{'bfloat16 autocast' if amp else 'float32'}{', compiled' if compile else ''}\n"
    )
    print_head("network", *columns)
    for name in nets:
        print_row(name, *(f"{column[name]:.1f}" for column in columns.values()))
    compared = ("ms/tile", "ms/output Mpx", "GFLOPs", "ms/training step")
    print()
    print_head("MONCH to …", *compared)
    for name in list(nets)[1:]:
        print_row(name, *(f"{columns[c]['MONCH'] / columns[c][name]:.3f}" for c in compared))


def _output_pixels(net: nn.Module, tiles: Tensor) -> int:
    """Pixels of the map that the network predicts; an encoder's are those of its whole input."""
    with torch.inference_mode():
        first = networks.tensors(net.eval()(tiles))[0]
    segments = first.shape[-1] > TILE // 2
    return tiles.shape[0] * (first.shape[-1] * first.shape[-2] if segments else TILE * TILE)
