"""MONCH on each encoder of the bundle: size, work, time, memory."""

import gc
from collections.abc import Iterator
from functools import partial

from benchmarks import networks
from benchmarks.measurement import choose_device, conditions, milliseconds_in_turn, print_head, print_row
from benchmarks.networks import CONFIGS, TILE
from monch_monai.encoders import DEFAULT_ENCODER

SLOW = 300
"""GFLOPs of the whole network from which on it is timed once only on a CPU."""


def print_encoders(device: str = "", runs: int = 5, only: str | tuple[str, ...] = "") -> None:
    """Prints MONCH on each encoder: parameters and GFLOPs of the encoder, time and memory of the whole.

    Times are medians; each encoder takes turns with the default one, RN50, which comes first. A training step is
    forward and backward, without an optimiser. Memory is the peak above what a fresh process held with the network.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        runs: rounds of timing.
        only: names of encoders, with commas; all when not given.
    """
    device = choose_device(device)
    asked = only.split(",") if isinstance(only, str) else only
    overlays = sorted(path.stem for path in (CONFIGS / "encoders").glob("*.json"))
    print(f"{conditions(device)}; MONCH, tiles {TILE}x{TILE}, batch 1, channels-last, float32, {runs} rounds\n")
    columns = "ms/tile", "of RN50", "MiB", "ms/step", "of RN50", "MiB training"
    print_head("encoder", "M parameters", "GFLOPs", "MONCH GFLOPs", *columns)
    for name in (DEFAULT_ENCODER, *(asked if only else overlays)):
        print_row(*_measure(name, device, runs))


def _measure(name: str, device: str, runs: int) -> Iterator[str]:
    tile = networks.random_tiles(1, device)
    of_name = [] if name == DEFAULT_ENCODER else [f"encoders/{name}"]
    overlays = {DEFAULT_ENCODER: [], name: of_name}  # the default beside it, in turn
    builds = {n: partial(networks.build_network, device, *overlay) for n, overlay in overlays.items()}
    nets = {n: build() for n, build in builds.items()}
    encoder = nets[name].image_encoder
    sizes = networks.million_parameters(encoder), networks.gflops(encoder, tile), networks.gflops(nets[name], tile)
    rounds, warm_up = (1, 0) if sizes[-1] > SLOW and device == "cpu" else (runs, 1)
    passes = {n: networks.inference(network.eval(), tile) for n, network in nets.items()}
    times = milliseconds_in_turn(passes, device, rounds, warm_up)
    steps = {n: networks.training_step(network.train(), tile) for n, network in nets.items()}
    training = milliseconds_in_turn(steps, device, max(1, rounds // 2), warm_up)
    del nets, encoder, passes, steps
    gc.collect()
    yield name
    yield from (f"{value:.1f}" for value in (*sizes, times[name]))
    yield f"{times[name] / times[DEFAULT_ENCODER]:.2f}"
    yield f"{networks.pass_mib(builds[name], device, train=False):.0f}"
    yield f"{training[name]:.0f}"
    yield f"{training[name] / training[DEFAULT_ENCODER]:.2f}"
    yield f"{networks.pass_mib(builds[name], device, train=True):.0f}"
