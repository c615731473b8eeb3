"""The page of a GPU: every section that needs one, in one command of a few minutes, as Markdown."""

import contextlib
import copy
import importlib.util
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks import trt_compile

from benchmarks import networks
from benchmarks.execution_modes import COLUMNS, print_ways
from benchmarks.gpu_operators import Sizes, peak, print_exactness, print_high_pass, print_knn, print_or_reason
from benchmarks.measurement import (
    choose_device,
    conditions,
    milliseconds_in_turn,
    print_head,
    print_row,
)
from benchmarks.slides import print_slide
from monch_monai.errors import one_line
from monch_monai.files import write_text_atomically


def print_gpu(out: str | Path = "gpu.md", device: str = "", minutes: float = 8.0) -> None:
    """Prints the whole page of a GPU as Markdown, and writes it; a section that fails has its line in place.

    Args:
        out: file to write the page to.
        device: cuda, or cpu to try the page; cuda where there is one when not given.
        minutes: after which no further section begins.
    """
    write_page(Path(out), choose_device(device), minutes, Sizes())


def write_page(out: Path, device: str, minutes: float, sizes: Sizes) -> None:
    """Prints the page and writes it to `out`, section by section, so that an end by force leaves what was measured."""
    start, page = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(_Both(sys.stdout, page)):
        print(f"# {torch.cuda.get_device_name() if device != 'cpu' else 'No GPU: the CPU'}\n\n{conditions(device)}")
        for title, section in SECTIONS.items():
            print(f"\n## {title}\n")
            if time.perf_counter() - start > 60 * minutes:
                print(f"Not measured: the {minutes:g} minutes were over.")
                continue
            try:
                section(device, sizes)
            except Exception as error:  # of any library: the rest of the page is worth having
                print(f"\nNot measured: {one_line(error) or type(error).__name__}")
            write_text_atomically(out, page.getvalue())
        print(f"\n{time.perf_counter() - start:.0f} s in all.")
    write_text_atomically(out, page.getvalue())


def print_inference(device: str, sizes: Sizes) -> None:
    """MONCH beside its bare encoder and HoVer-Net in bfloat16, in turn."""
    tiles = networks.random_tiles(sizes.batch, device)
    nets = {
        name: build().to(device=device, memory_format=torch.channels_last).eval()
        for name, build in sizes.builds.items()
    }
    passes = {name: networks.inference(net, tiles, amp=True) for name, net in nets.items()}
    times = milliseconds_in_turn(passes, device, sizes.runs)
    print(f"batch {sizes.batch}, {networks.TILE}x{networks.TILE}, bfloat16 autocast\n")
    print_head("network", "ms/tile", "of MONCH", "peak MiB")
    for name, ms in times.items():
        row = (f"{ms / sizes.batch:.2f}", f"{ms / times['MONCH']:.3f}", peak(passes[name], device))
        print_row(name, *row)


def print_compiled(device: str, sizes: Sizes) -> None:
    """MONCH folded, in bfloat16 and compiled, with how far its logits are from eager's."""
    network = _monch(device, sizes)
    folded, tiles = network.folded(), networks.random_tiles(sizes.batch, device)
    ways = {
        "eager": networks.inference(network, tiles),
        "head folded, bfloat16": networks.inference(folded, tiles, amp=True),
        "the same, compiled": networks.inference(torch.compile(folded), tiles, amp=True),
    }
    print_head("MONCH", *COLUMNS)
    print_ways(ways, device, sizes.runs, sizes.batch)


def print_tensorrt(device: str, sizes: Sizes) -> None:
    """MONCH by TensorRT, as `configs/export/tensorrt.json` has it, where that is installed."""
    if device == "cpu" or importlib.util.find_spec("tensorrt") is None:
        print("Not measured: TensorRT needs a GPU and the package tensorrt.")
        return
    network, tiles = _monch(device, sizes), networks.random_tiles(sizes.batch, device).contiguous()
    with tempfile.TemporaryDirectory() as folder:
        args = {"precision": "tf32", "dynamic_batchsize": [1, sizes.batch, sizes.batch]}
        by_tensorrt = trt_compile(copy.deepcopy(network), str(Path(folder) / "monch"), args=args)
        ways = {"eager": networks.inference(network, tiles), "TensorRT, tf32": networks.inference(by_tensorrt, tiles)}
        print_head("MONCH", *COLUMNS)
        print_ways(ways, device, sizes.runs, sizes.batch)


def print_training(device: str, sizes: Sizes) -> None:
    """A step of training in float32 and in bfloat16, with Adam."""
    tiles = networks.random_tiles(sizes.batch, device)
    print_head("training step", "ms", "peak MiB")
    for amp in (False, True):
        network = _monch(device, sizes).train()
        step = networks.training_step(network, tiles, torch.optim.Adam(network.parameters()), amp=amp)
        print_or_reason(f"batch {sizes.batch}, {'bfloat16' if amp else 'float32'}", step, device, sizes.runs)


def print_square(device: str, sizes: Sizes) -> None:
    """A square of synthetic tissue, from file to files."""
    print_slide(device=device, side=sizes.slide, beside=False)


SECTIONS: dict[str, Callable[[str, Sizes], None]] = {
    "Triton kernels against the definitions in float64": print_exactness,
    "k-NN on a large graph": print_knn,
    "High-pass filter": print_high_pass,
    "Inference": print_inference,
    "Compiled": print_compiled,
    "TensorRT": print_tensorrt,
    "Training": print_training,
    "A slide": print_square,
}
"""In the order of the page."""


def _monch(device: str, sizes: Sizes) -> Any:
    return sizes.builds["MONCH"]().to(device=device, memory_format=torch.channels_last).eval()


class _Both(io.TextIOBase):
    """Text written to two files."""

    def __init__(self, *files: Any) -> None:
        self.files = files

    def write(self, text: str) -> int:
        for file in self.files:
            file.write(text)
        return len(text)

    def flush(self) -> None:
        for file in self.files:
            file.flush()
