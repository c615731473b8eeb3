"""Max-relative aggregation by Triton kernels: gathered and compared at once, nothing of size N * K * D in memory."""

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
        _forward[_grid(nodes)](nodes, neighbours, relative, *_sizes(nodes, neighbours), ROWS=ROWS, CHANNELS=CHANNELS)
    return relative


def max_relative_backward(gradient: Tensor, nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Gradient `[B, N, D]` of the nodes, summed in float32 (float64 for float64 nodes)."""
    gradient, nodes, neighbours = gradient.contiguous(), nodes.contiguous(), neighbours.contiguous()
    sums = torch.zeros_like(nodes, dtype=torch.promote_types(nodes.dtype, torch.float32))
    if nodes.numel():
        _backward[_grid(nodes)](
            gradient, nodes, neighbours, sums, *_sizes(nodes, neighbours), ROWS=ROWS, CHANNELS=CHANNELS
        )
    return sums.to(nodes.dtype)


def _grid(nodes: Tensor) -> tuple[int, int, int]:
    batch, count, dim = nodes.shape
    return triton.cdiv(count, ROWS), triton.cdiv(dim, CHANNELS), batch


def _sizes(nodes: Tensor, neighbours: Tensor) -> tuple[int, int, int]:
    return nodes.shape[1], nodes.shape[2], neighbours.shape[2]


@triton.jit
def _forward(nodes, neighbours, relative, count, dim, k, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """One block of nodes and channels; what is not a number stays so, as in `Tensor.amax`."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64) * count
    row_is_node, is_channel = rows < count, channels < dim
    inside = row_is_node[:, None] & is_channel[None, :]
    here = (image + rows[:, None]) * dim + channels[None, :]
    largest = tl.full((ROWS, CHANNELS), float("-inf"), nodes.dtype.element_ty)
    for j in range(0, k):
        other = tl.load(neighbours + (image + rows) * k + j, mask=row_is_node, other=0)
        at = nodes + (image + other[:, None]) * dim + channels[None, :]
        value = tl.load(at, mask=inside, other=0.0)
        largest = tl.where((value > largest) | (value != value), value, largest)
    tl.store(relative + here, largest - tl.load(nodes + here, mask=inside, other=0.0), mask=inside)


@triton.jit
def _backward(gradient, nodes, neighbours, sums, count, dim, k, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """One block of nodes and channels: finds the largest again, counts them and adds a share to each."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64) * count
    row_is_node, is_channel = rows < count, channels < dim
    inside = row_is_node[:, None] & is_channel[None, :]
    here = (image + rows[:, None]) * dim + channels[None, :]
    largest = tl.full((ROWS, CHANNELS), float("-inf"), nodes.dtype.element_ty)
    equals = tl.zeros((ROWS, CHANNELS), tl.int32)
    for j in range(0, k):
        other = tl.load(neighbours + (image + rows) * k + j, mask=row_is_node, other=0)
        value = tl.load(nodes + (image + other[:, None]) * dim + channels[None, :], mask=inside, other=0.0)
        equals = tl.where(value > largest, 1, tl.where(value == largest, equals + 1, equals))
        largest = tl.where((value > largest) | (value != value), value, largest)
    share = tl.load(gradient + here, mask=inside, other=0.0).to(sums.dtype.element_ty)
    tl.atomic_add(sums + here, -share, mask=inside)
    share = share / equals.to(sums.dtype.element_ty)
    for j in range(0, k):
        other = tl.load(neighbours + (image + rows) * k + j, mask=row_is_node, other=0)
        there = (image + other[:, None]) * dim + channels[None, :]
        value = tl.load(nodes + there, mask=inside, other=0.0)
        tl.atomic_add(sums + there, share, mask=inside & (value == largest))
