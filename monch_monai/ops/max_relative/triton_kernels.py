"""Max-relative aggregation by Triton kernels: gathered and compared at once, nothing of size N * K * D in memory."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 16, 64
"""Nodes and channels in one block."""


def max_relative(nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Differences `[B, N, D]` of nodes `[B, N, D]` and neighbours `[B, N, K]`."""
    nodes, neighbours = nodes.contiguous(), neighbours.contiguous()
    relative = torch.empty_like(nodes)
    if nodes.numel():
        _forward[_grid(nodes)](nodes, neighbours, relative, *_sizes(nodes, neighbours), **_blocks(nodes))
    return relative


def max_relative_backward(gradient: Tensor, nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Gradient `[B, N, D]` of the nodes, summed in float32 (float64 for float64 nodes)."""
    gradient, nodes, neighbours = gradient.contiguous(), nodes.contiguous(), neighbours.contiguous()
    sums = torch.zeros_like(nodes, dtype=torch.promote_types(nodes.dtype, torch.float32))
    if nodes.numel():
        _backward[_grid(nodes)](gradient, nodes, neighbours, sums, *_sizes(nodes, neighbours), **_blocks(nodes))
    return sums.to(nodes.dtype)


def _grid(nodes: Tensor) -> tuple[int, int, int]:
    batch, count, dim = nodes.shape
    return triton.cdiv(count, ROWS), triton.cdiv(dim, CHANNELS), batch


def _sizes(nodes: Tensor, neighbours: Tensor) -> tuple[int, int, int]:
    return nodes.shape[1], nodes.shape[2], neighbours.shape[2]


def _blocks(nodes: Tensor) -> dict[str, Any]:
    """Compile-time settings: half precision is computed in float32."""
    wide = tl.float64 if nodes.dtype == torch.float64 else tl.float32
    return {"WIDE": wide, "ROWS": ROWS, "CHANNELS": CHANNELS}


@triton.jit
def _forward(
    nodes, neighbours, relative, count, dim, k, WIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """One block of nodes and channels; what is not a number stays so, as in `Tensor.amax`."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64) * count
    row_is_node, is_channel = rows < count, channels < dim
    inside = row_is_node[:, None] & is_channel[None, :]
    here = (image + rows[:, None]) * dim + channels[None, :]
    largest = tl.load(
        nodes + _place(neighbours, image, rows, k, 0, row_is_node, dim, channels), mask=inside, other=0.0
    ).to(WIDE)
    for j in range(1, k):
        place = _place(neighbours, image, rows, k, j, row_is_node, dim, channels)
        value = tl.load(nodes + place, mask=inside, other=0.0).to(WIDE)
        largest = tl.where((value > largest) | (value != value), value, largest)
    difference = largest - tl.load(nodes + here, mask=inside, other=0.0).to(WIDE)
    tl.store(relative + here, difference.to(relative.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    gradient, nodes, neighbours, sums, count, dim, k, WIDE: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """One block of nodes and channels: finds the largest again, counts them and adds a share to each."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64) * count
    row_is_node, is_channel = rows < count, channels < dim
    inside = row_is_node[:, None] & is_channel[None, :]
    here = (image + rows[:, None]) * dim + channels[None, :]
    largest = tl.load(
        nodes + _place(neighbours, image, rows, k, 0, row_is_node, dim, channels), mask=inside, other=0.0
    ).to(WIDE)
    equals = tl.full((ROWS, CHANNELS), 1, tl.int32)
    for j in range(1, k):
        place = _place(neighbours, image, rows, k, j, row_is_node, dim, channels)
        value = tl.load(nodes + place, mask=inside, other=0.0).to(WIDE)
        equals = tl.where(value > largest, 1, tl.where(value == largest, equals + 1, equals))
        largest = tl.where((value > largest) | (value != value), value, largest)
    share = tl.load(gradient + here, mask=inside, other=0.0).to(WIDE)
    tl.atomic_add(sums + here, -share, mask=inside)
    share = share / equals.to(WIDE)
    for j in range(0, k):
        place = _place(neighbours, image, rows, k, j, row_is_node, dim, channels)
        value = tl.load(nodes + place, mask=inside, other=0.0).to(WIDE)
        tl.atomic_add(sums + place, share, mask=inside & (value == largest))


@triton.jit
def _place(neighbours, image, rows, k, j, row_is_node, dim, channels):
    """Where the j-th neighbours of the rows lie, `[ROWS, CHANNELS]`; `image` is the index of its first node."""
    other = tl.load(neighbours + (image + rows) * k + j, mask=row_is_node, other=0)
    return (image + other[:, None]) * dim + channels[None, :]
