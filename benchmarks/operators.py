"""Each op, forward and backward: its definition, what is chosen, and what PyTorch offers."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import measurement
from benchmarks.measurement import Work, print_head, print_row
from monch_monai.files import write_rows
from monch_monai.ops import high_pass, knn, max_relative
from monch_monai.ops.high_pass import reference as high_pass_reference
from monch_monai.ops.knn import reference as knn_reference
from monch_monai.ops.max_relative import reference as max_relative_reference
from monch_monai.settings import flag

K, DILATION, CUTOFF = 9, 2, 0.25
NODES = [(1, 64, 128), (16, 64, 128), (1, 1024, 128), (1, 4096, 128)]
"""Of the network at C = 256: tiles of 256x256, one and sixteen, and images of 1024x1024 and 2048x2048."""
LARGEST_NODES = (1, 16384, 128)
MAPS = [(1, 256, 32, 32), (16, 256, 32, 32), (1, 256, 128, 128), (1, 32, 256, 256), (1, 32, 512, 512)]
"""The first two are the network's, of tiles of 256x256; in channels-last memory as there."""
Case = tuple[str, tuple[int, ...], bool]
"""An op, the shape of its first input, and whether its backward is measured too."""
SLOW = 2.0
"""Seconds from which on a row is timed three times only."""


class Row(NamedTuple):
    """One measurement. The floor is the longer of two times. One is to copy what must be read and written, at the speed
    of a large copy here; the other to multiply what must be multiplied, at the speed of a large float32 matrix product.
    """

    op: str
    shape: str
    direction: str
    implementation: str
    ms: float
    of_reference: float
    peak_mib: float | None
    share_of_floor: float


def implementations(
    op: str, shape: tuple[int, ...], device: str
) -> tuple[list[Tensor], dict[str, Callable[..., Tensor]]]:
    """Inputs, the first of which takes the gradient, and the op by each implementation."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    if op == "knn":
        return [x], {
            "reference": lambda f: knn_reference.knn(f, K, DILATION),
            "ops.knn": lambda f: knn(f, K, DILATION),
            "torch.cdist + topk": _cdist_topk,
        }
    if op == "max_relative":
        neighbours = torch.randint(shape[1], (*shape[:2], K), generator=torch.Generator().manual_seed(1)).to(device)
        works = {"reference": max_relative_reference.max_relative, "ops.max_relative": max_relative}
        return [x.relu(), neighbours], works
    if shape[-1] <= 128:
        x = x.to(memory_format=torch.channels_last)
    gain = high_pass_reference.spectrum_gain(*shape[-2:], CUTOFF, "box", True).to(x)
    return [x], {
        "reference": lambda m: high_pass_reference.high_pass(m, CUTOFF, "box", True),
        "ops.high_pass": lambda m: high_pass(m, CUTOFF, "box", True),
        "torch.fft": lambda m: torch.fft.irfft2(torch.fft.rfft2(m) * gain, s=m.shape[-2:]),
    }


def print_ops(
    device: str = "",
    runs: int = 7,
    largest: bool | str = False,
    memory: bool | str = True,
    csv: str | Path = "",
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
    device, memory = measurement.choose_device(device), flag("memory", memory)
    bytes_per_ms, flops_per_ms = _copy_speed(device), _product_speed(device)
    print(
        f"{measurement.conditions(device)}; float32, k = {K}, dilation = {DILATION}, cutoff = {CUTOFF}; copy "
        f"{bytes_per_ms / 1e6:.1f} GB/s, float32 matrix product {flops_per_ms / 1e6:.0f} GFLOP/s\n"
    )
    print_head("op", "shape", "direction", "implementation", "ms", "of reference", "peak MiB", "share of floor")
    rows = []
    for case in (case for case in _cases(flag("largest", largest)) if only in ("", case[0])):
        for row in _measure(case, device, runs, memory, bytes_per_ms, flops_per_ms):
            rows.append(row)
            peak = "not measured" if row.peak_mib is None else f"{row.peak_mib:.1f}"
            print_row(*row[:4], f"{row.ms:.2f}", f"{row.of_reference:.3f}", peak, f"{row.share_of_floor:.3f}")
    if device == "cpu":
        print("\nGPU: not measured.")
    if csv:
        write_rows(Path(csv), [row._asdict() for row in rows])


def _cases(largest: bool) -> Iterator[Case]:
    nodes = [*NODES, LARGEST_NODES] if largest else NODES
    for shape in nodes:
        yield "knn", shape, False
    for op, shapes in (("max_relative", nodes), ("high_pass", MAPS)):
        for shape in shapes:
            yield op, shape, False
            yield op, shape, True


def _measure(
    case: Case, device: str, runs: int, memory: bool, bytes_per_ms: float, flops_per_ms: float
) -> Iterator[Row]:
    op, shape, backward = case
    inputs, functions = implementations(op, shape, device)
    works = {name: _work(function, inputs, backward) for name, function in functions.items()}
    start = time.perf_counter()
    for work in works.values():
        work()
    measurement.synchronise(device)
    slow = time.perf_counter() - start > SLOW * len(works)
    times = measurement.milliseconds_in_turn(works, device, 3 if slow else runs, warm_up=0 if slow else 2)
    flops = 2 * shape[0] * shape[1] ** 2 * shape[2] if op == "knn" else 0
    read_and_written = sum(t.numel() * t.element_size() for t in inputs) + 4 * inputs[0].numel() * (op != "knn")
    floor = max(read_and_written * (2 if backward else 1) / bytes_per_ms, flops / flops_per_ms)
    for name, ms in times.items():
        peak = measurement.peak_mib(_prepare, op, shape, name, backward, device, device=device) if memory else None
        direction = "forward and backward" if backward else "forward"
        size = "x".join(str(side) for side in shape)
        yield Row(op, size, direction, name, ms, ms / times["reference"], peak, floor / ms)


def _prepare(op: str, shape: tuple[int, ...], name: str, backward: bool, device: str) -> tuple[Work, Work]:
    small = (1, 64, 8) if len(shape) == 3 else (1, 2, 16, 16)
    (first, small_functions), (inputs, functions) = (implementations(op, size, device) for size in (small, shape))
    return _work(small_functions[name], first, backward), _work(functions[name], inputs, backward)


def _work(function: Callable[..., Tensor], inputs: list[Tensor], backward: bool) -> Work:
    if not backward:
        return lambda: function(*inputs)
    leaf = inputs[0].requires_grad_()
    gradient = torch.randn_like(leaf)
    return lambda: torch.autograd.grad(function(leaf, *inputs[1:]), leaf, gradient)


def _cdist_topk(features: Tensor) -> Tensor:
    x = F.normalize(features, dim=-1)
    return torch.cdist(x, x).topk(K * DILATION, largest=False).indices[..., ::DILATION]


def _copy_speed(device: str) -> float:
    x = torch.randn(2**25, device=device)
    y = torch.empty_like(x)
    return 8 * x.numel() / measurement.milliseconds_in_turn({"": lambda: y.copy_(x)}, device, runs=5)[""]


def _product_speed(device: str) -> float:
    side = 1024 if device == "cpu" else 8192
    x = torch.randn(side, side, device=device)
    return 2 * side**3 / measurement.milliseconds_in_turn({"": lambda: x @ x}, device, runs=5)[""]
