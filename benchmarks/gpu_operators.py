"""The operators on a GPU: exactness, k-NN on a large graph and the high-pass filter, as sections of the page."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import comparison
from benchmarks.measurement import Work, milliseconds_in_turn, print_head, print_row, synchronise
from benchmarks.operators import CUTOFF, DILATION, K, implementations
from monch_monai.errors import one_line
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
            print_or_reason(label, partial(functions[name], *inputs), device, sizes.runs)


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
            print_or_reason(f"{name}, forward", lambda way=way: way(x.detach()), device, sizes.runs)
            both = lambda way=way: torch.autograd.grad(way(x).sum(), x)  # noqa: E731
            print_or_reason(f"{name}, forward and backward", both, device, sizes.runs)


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


def print_or_reason(label: str, work: Work, device: str, runs: int) -> None:
    """A row of time and peak memory, or of why there is none."""
    try:
        ms = milliseconds_in_turn({"": work}, device, runs)[""]
        print_row(label, f"{ms:.2f}", peak(work, device))
    except Exception as error:  # memory that is full, a kernel that cannot run
        print_row(label, f"not measured: {one_line(error, 120)}", "")


def peak(work: Work, device: str) -> str:
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
