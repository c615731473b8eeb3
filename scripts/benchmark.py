"""Speed, memory and size, side by side in one run: `python scripts/benchmark.py COMMAND --help`."""

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


def ablations(device: str = "", runs: int = 7) -> None:
    """Prints a training step of CoNSeP's recipe: MONCH, MONCH without each of its parts, the U-Net.

    Args:
        device: cpu, cuda, …; cuda where there is one when not given.
        runs: rounds of timing.
    """
    from benchmark_ablations import print_ablations

    print_ablations(device, runs)


def slide(
    slide: str = "",
    device: str = "",
    side: int = 1024,
    x: int = 0,
    y: int = 0,
    checkpoint: str = "",
    beside: bool | str = True,
) -> None:
    """Prints mm² of tissue a minute and the shares of reading, network and nuclei, beside MONAI's HoVer-Net inferer.

    Args:
        slide: a slide to cut a square from; synthetic tissue when not given.
        device: cpu, cuda, …; cuda where there is one when not given.
        side: of the square, px at 0.25 µm/px.
        x: of the square's corner, px of level 0.
        y: likewise.
        checkpoint: weights; random ones find few nuclei.
        beside: also HoVer-Net, which takes long on a CPU.
    """
    from benchmark_slide import print_slide

    print_slide(slide, device, side, x, y, checkpoint, flag("beside", beside))


def slide_memory(sizes: tuple[int, ...] = (10_000, 40_000), region_size: int = 2048) -> None:
    """Prints peak memory for synthetic slides of these sides, a tenth of them tissue, with a stub for the network."""
    from benchmark_slide import print_memory

    print_memory(list(sizes), region_size)


def slide_peak(size: int, region_size: int = 2048) -> None:
    """Segments one synthetic slide by a stub network and prints its peak memory as JSON: a step of slide_memory."""
    from benchmark_slide import print_peak

    print_peak(size, region_size)


if __name__ == "__main__":
    commands = {
        "network": network,
        "ops": ops,
        "ablations": ablations,
        "encoders": encoders,
        "export": export,
        "slide": slide,
        "slide_memory": slide_memory,
        "slide_peak": slide_peak,
    }
    fire.Fire(commands, name="benchmark.py")
