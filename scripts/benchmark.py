"""Speed, memory and size, side by side in one run: `python scripts/benchmark.py network|ops|encoders|export --help`."""

import sys
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.settings import flag


def network(
    device: str = "",
    batch: int = 1,
    compile: bool | str = False,
    amp: bool | str = False,
    runs: int = 10,
    beside: bool | str = True,
    ways: bool | str = True,
) -> None:
    """Prints MONCH beside its bare image encoder and HoVer-Net, with ratios, and MONCH run in other ways.

    Times are medians over `runs` rounds, each network once a round in turn, so that a drift of the machine's speed
    meets all alike. Memory is measured in a fresh process for each network.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        batch: tiles of 256x256 at once, in inference and training.
        compile: torch.compile the networks of the first table.
        amp: bfloat16 autocast in the first table.
        runs: rounds of timing.
        beside: the first table: MONCH beside other networks.
        ways: the second: MONCH by layout, folded, compiled, in bfloat16, by ONNX Runtime where that is installed.
    """
    from benchmark_network import print_beside
    from benchmark_ways import print_ways

    if flag("beside", beside):
        print_beside(device, batch, flag("compile", compile), flag("amp", amp), runs)
    if flag("ways", ways):
        print_ways(device, batch, runs)


def ops(
    device: str = "",
    runs: int = 7,
    largest: bool | str = False,
    memory: bool | str = True,
    csv: str = "",
    only: str = "",
) -> None:
    """Prints each op, forward and backward: the definition, what MONCH_OPS chooses, and PyTorch's own functions.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        runs: rounds of timing.
        largest: also 16,384 nodes, whose definition needs 15 GB.
        memory: also peak memory, each in a fresh process.
        csv: file to write the rows to as well.
        only: one op: knn, max_relative or high_pass.
    """
    from benchmark_ops import print_ops

    print_ops(device, runs, flag("largest", largest), flag("memory", memory), csv, only)


def export(runs: int = 7) -> None:
    """Prints MONCH eager, compiled, and as exported: TorchScript, torch.export, ONNX Runtime, on this CPU.

    Args:
        runs: rounds of timing.
    """
    from benchmark_export import print_exports

    print_exports(runs)


def encoders(device: str = "", runs: int = 5, only: str = "") -> None:
    """Prints MONCH on each encoder: parameters and GFLOPs of the encoder, time and memory of the whole.

    Times are medians; each encoder takes turns with the default one, RN50. A training step is forward and backward,
    without an optimiser. Memory is the peak above what a fresh process held with the network made.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        runs: rounds of timing.
        only: names of encoders, with commas; all when not given.
    """
    from benchmark_encoders import print_encoders

    print_encoders(device, runs, ",".join(only) if isinstance(only, tuple) else only)


if __name__ == "__main__":
    commands = {"network": network, "ops": ops, "encoders": encoders, "export": export}
    fire.Fire(commands, name="benchmark.py")
