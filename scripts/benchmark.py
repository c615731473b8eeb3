"""Speed, memory and size, side by side in one run: `python scripts/benchmark.py network --help`."""

import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fire
import torch
from monai.networks.nets import HoVerNet
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.encoders import ClipResNet50
from monch_monai.inferers import cpu_capabilities, has_fast_bfloat16
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


def network(device: str = "", batch: int = 1, compile: bool = False, amp: bool = False, runs: int = 10) -> None:
    """Prints a table of MONCH, its bare image encoder and HoVer-Net, with ratios to MONCH.

    Times are medians over `runs` rounds, each network once a round in turn, so that a drift of the machine's speed
    meets all alike. Memory is measured in a fresh process for each network.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        batch: tiles of 256x256 at once, in inference and training.
        compile: torch.compile the networks.
        amp: bfloat16 autocast.
        runs: rounds of timing.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    nets = {name: make().to(device=device, memory_format=torch.channels_last) for name, make in NETWORKS.items()}
    tiles = torch.randn(batch, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)
    run = {name: torch.compile(net) if compile else net for name, net in nets.items()}
    output = {name: _output_pixels(net, tiles) for name, net in nets.items()}
    gflops = {name: _gflops(net, tiles[:1]) for name, net in nets.items()}
    inference = _time(run, lambda net: _infer(net, tiles, amp), nn.Module.eval, device, runs)
    optimizers = {name: torch.optim.Adam(net.parameters()) for name, net in nets.items()}
    training = _time(
        run, lambda net: _train(net, tiles, amp), nn.Module.train, device, max(3, runs // 3), after=optimizers
    )
    memory = {name: [_peak_mib(name, device, batch, amp, train) for train in (False, True)] for name in nets}
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
    _print_conditions(device, batch, compile, amp)
    _print_table(rows)


def _infer(net: nn.Module, tiles: Tensor, amp: bool) -> None:
    with torch.inference_mode(), torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
        net(tiles)


def _train(net: nn.Module, tiles: Tensor, amp: bool) -> None:
    with torch.autocast(tiles.device.type, torch.bfloat16, enabled=amp):
        outputs = _tensors(net(tiles))
    loss = torch.stack([t.float().square().mean() for t in outputs]).sum()
    loss.backward()


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


def _time(
    nets: dict[str, Any],
    work: Callable[[Any], None],
    mode: Callable[[nn.Module], nn.Module],
    device: str,
    runs: int,
    after: dict[str, torch.optim.Optimizer] | None = None,
) -> dict[str, float]:
    """Median milliseconds of `work` (and an optimiser step) for each network, after two warm-up rounds."""
    times: dict[str, list[float]] = {name: [] for name in nets}
    for round_ in range(runs + 2):
        for name, net in nets.items():
            mode(net)
            _synchronise(device)
            start = time.perf_counter()
            work(net)
            if after is not None:
                after[name].step()
                after[name].zero_grad()
            _synchronise(device)
            if round_ >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _peak_mib(name: str, device: str, batch: int, amp: bool, train: bool) -> float:
    """Peak memory above what the process held with the network made, of one inference or one training step."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_memory, args=(sender, name, device, batch, amp, train))
    process.start()
    sender.close()
    mib: float = receiver.recv()
    process.join()
    return mib


def _measure_memory(sender: Any, name: str, device: str, batch: int, amp: bool, train: bool) -> None:
    net = NETWORKS[name]().to(device=device, memory_format=torch.channels_last)
    tiles = torch.randn(batch, 3, TILE, TILE, device=device).to(memory_format=torch.channels_last)
    work, mode = (_train, net.train) if train else (_infer, net.eval)
    mode()
    cuda = torch.device(device).type == "cuda"
    if cuda:
        before = torch.cuda.memory_allocated()
        work(net, tiles, amp)
        sender.send((torch.cuda.max_memory_allocated() - before) / 2**20)
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here (Linux)
        before = _status_kib("VmRSS")
        work(net, tiles, amp)
        sender.send((_status_kib("VmHWM") - before) / 2**10)


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _print_conditions(device: str, batch: int, compile: bool, amp: bool) -> None:
    cuda = torch.device(device).type == "cuda"
    hardware = torch.cuda.get_device_name() if cuda else cpu_capabilities().get("cpu_name", "")
    print(
        f"{hardware} ({device}, {torch.get_num_threads()} threads), torch {torch.__version__}, Python "
        f"{platform.python_version()}; tiles {TILE}x{TILE}, batch {batch}, channels-last, "
        f"{'bfloat16 autocast' if amp else 'float32'}{', compiled' if compile else ''}"
        f"; bfloat16 by hardware: {'yes' if has_fast_bfloat16(device) else 'no'}\n"
    )


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


if __name__ == "__main__":
    fire.Fire({"network": network}, name="benchmark.py")
