"""The page of a GPU: every section that needs one, in one command of a few minutes, as Markdown."""

import contextlib
import copy
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks import trt_compile
from torch import Tensor, nn

from benchmarks import comparison, networks
from benchmarks.execution_modes import COLUMNS, print_ways
from benchmarks.measurement import (
    Work,
    choose_device,
    conditions,
    milliseconds_in_turn,
    print_head,
    print_row,
    synchronise,
)
from benchmarks.operators import CUTOFF, DILATION, K, implementations
from benchmarks.slides import print_slide
from monch_monai.errors import one_line
from monch_monai.files import write_text_atomically
from monch_monai.ops import high_pass, knn, max_relative, self_check
from monch_monai.ops.high_pass import reference as high_pass_reference
from monch_monai.ops.high_pass import separable
from monch_monai.ops.knn import reference as knn_reference
from monch_monai.ops.max_relative import reference as max_relative_reference


@dataclass(frozen=True)
class Sizes:
    """What the page is measured on; the defaults are the network's, tests take less.

    Args:
        nodes: of k-NN's large graph.
        channels: of nodes and maps.
        side: of the high-pass filter's maps, px, as the kernel holds them.
        batch: tiles at once.
        slide: side of the square of tissue, px.
        runs: rounds of timing.
        builds: what makes MONCH, and the networks beside it.
    """

    nodes: int = 16_384
    channels: int = 128
    side: int = 32
    batch: int = 16
    slide: int = 2048
    runs: int = 10
    builds: Mapping[str, Callable[[], nn.Module]] = field(default_factory=lambda: comparison.BUILDS)


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


def print_exactness(device: str, sizes: Sizes) -> None:
    """Largest differences of the Triton kernels from the definitions in float64, on inputs of unit variance."""
    print_head("kernel", "checks itself", "largest difference, forward", "backward", "of")
    for op in self_check.CHECKS:
        agrees = self_check.agrees(op, torch.device(device, 0) if device == "cuda" else torch.device(device))
        with _ops("triton"):
            forward, backward, of = _differences(op, device, sizes)
        print_row(op, "agrees" if agrees else "fails", f"{forward:.1e}", backward, of)


def print_knn(device: str, sizes: Sizes) -> None:
    """Time and peak memory of k-NN on a large graph."""
    inputs, functions = implementations("knn", (1, sizes.nodes, sizes.channels), device)
    print(f"1x{sizes.nodes}x{sizes.channels}, k = {K}, dilation = {DILATION}\n")
    print_head("k-NN", "ms", "peak MiB")
    for name, choice in (
        ("ops.knn", "triton"),
        ("ops.knn", "auto"),
        ("torch.cdist + topk", "auto"),
        ("reference", "auto"),
    ):
        label = f"{name}, MONCH_OPS={choice}" if name == "ops.knn" else name
        with _ops(choice):
            _print_or_reason(label, partial(functions[name], *inputs), device, sizes.runs)


def print_high_pass(device: str, sizes: Sizes) -> None:
    """The high-pass filter with its residual by FFT, by matrix products and by the fused kernel."""
    x = torch.randn(sizes.batch, sizes.channels, sizes.side, sizes.side, device=device)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    waves = separable.low_waves(sizes.side, CUTOFF).to(device, torch.float32)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "FFT": lambda m: high_pass_reference.high_pass(m, CUTOFF, "box", True),
        "products": lambda m: separable.by_products_channels_last(m, waves, waves, True),
        "fused kernel": lambda m: high_pass(m, CUTOFF, "box", True),
    }
    print(f"{'x'.join(map(str, x.shape))}, channels-last, float32\n")
    print_head("high-pass", "ms", "peak MiB")
    with _ops("triton"):
        for name, way in ways.items():
            _print_or_reason(f"{name}, forward", lambda way=way: way(x.detach()), device, sizes.runs)
            both = lambda way=way: torch.autograd.grad(way(x).sum(), x)  # noqa: E731
            _print_or_reason(f"{name}, forward and backward", both, device, sizes.runs)


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
        row = (f"{ms / sizes.batch:.2f}", f"{ms / times['MONCH']:.3f}", _peak(passes[name], device))
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
        _print_or_reason(f"batch {sizes.batch}, {'bfloat16' if amp else 'float32'}", step, device, sizes.runs)


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


def _differences(op: str, device: str, sizes: Sizes) -> tuple[float, str, str]:
    """Largest difference forward, backward as text, and the shape, of a kernel from the definition in float64."""
    generator = torch.Generator().manual_seed(0)
    maps = op == "high_pass"
    shape = (2, sizes.channels, sizes.side, sizes.side) if maps else (2, min(256, sizes.nodes), sizes.channels)
    x, gradient = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    of = "x".join(map(str, shape))
    if op == "knn":
        found, nodes = knn(x, K, DILATION), knn_reference.unit_nodes(x)
        distances = 2 - 2 * nodes @ nodes.mT
        wanted = knn_reference.knn(x.double(), K, DILATION)
        moved = (found != wanted).double().mean()
        farther = (distances.gather(2, found) - distances.gather(2, wanted)).abs().max()
        return float(farther), "no gradient", f"{of}; {moved:.3%} of neighbours in another place"
    neighbours = knn_reference.knn(x, K, DILATION) if op == "max_relative" else None

    def fast(m: Tensor) -> Tensor:
        return high_pass(m, CUTOFF, "box", True) if neighbours is None else max_relative(m, neighbours)

    def plain(m: Tensor) -> Tensor:
        if neighbours is None:
            return high_pass_reference.high_pass(m, CUTOFF, "box", True)
        return max_relative_reference.max_relative(m, neighbours)

    results = []
    for function, leaf, along in ((fast, x, gradient), (plain, x.double(), gradient.double())):
        leaf.requires_grad_()
        result = function(leaf)
        results.append((result.detach().double(), torch.autograd.grad(result, leaf, along)[0].double()))
    forward, backward = (float((a - b).abs().max()) for a, b in zip(*results, strict=True))
    return forward, f"{backward:.1e}", of


def _monch(device: str, sizes: Sizes) -> Any:
    return sizes.builds["MONCH"]().to(device=device, memory_format=torch.channels_last).eval()


def _print_or_reason(label: str, work: Work, device: str, runs: int) -> None:
    """A row of time and peak memory, or of why there is none."""
    try:
        ms = milliseconds_in_turn({"": work}, device, runs)[""]
        print_row(label, f"{ms:.2f}", _peak(work, device))
    except Exception as error:  # memory that is full, a kernel that cannot run
        print_row(label, f"not measured: {one_line(error, 120)}", "")


def _peak(work: Work, device: str) -> str:
    """Peak MiB of a GPU's memory in one work, above what was held."""
    if device == "cpu":
        return "not measured"
    synchronise(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    synchronise(device)
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"


@contextlib.contextmanager
def _ops(choice: str) -> Iterator[None]:
    """`MONCH_OPS` is `choice` meanwhile."""
    before = os.environ.get("MONCH_OPS")
    os.environ["MONCH_OPS"] = choice
    try:
        yield
    finally:
        os.environ.pop("MONCH_OPS")
        if before is not None:
            os.environ["MONCH_OPS"] = before


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
