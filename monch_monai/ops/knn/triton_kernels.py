"""Dilated k nearest neighbours by a Triton kernel: distances blockwise, the nearest kept on the fly."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from monch_monai.ops.knn.reference import STEP, unit_nodes

ROWS, COLUMNS, DEPTH = 32, 64, 32
"""Nodes, their candidates and dimensions in one block."""
FEWEST_KEPT = 16


def knn(features: Tensor, k: int, dilation: int) -> Tensor:
    """Indices `[B, N, k]` int64 of features `[B, N, D]`, as the reference has them; memory is O(N * (D + k))."""
    nodes = unit_nodes(features, torch.float32)
    batch, count, dim = nodes.shape
    nearest = torch.empty((batch, count, k), dtype=torch.int64, device=nodes.device)
    kept = max(FEWEST_KEPT, triton.next_power_of_2(k * dilation))
    if nearest.numel():
        squared_norms = nodes.square().sum(dim=-1)
        blocks = {"KEPT": kept, "ROWS": ROWS, "COLUMNS": max(COLUMNS, kept), "DEPTH": DEPTH}
        grid = (triton.cdiv(count, ROWS), batch)
        _nearest[grid](nodes, squared_norms, nearest, count, dim, k, dilation, 1.0 / STEP, **blocks)
    return nearest


@triton.jit
def _nearest(
    nodes, squared_norms, nearest, count, dim, k, dilation, steps_per_unit,
    KEPT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """One block of nodes against all nodes of its image.

    A candidate is one int64: steps apart above, index below, inverted, so that the largest is the nearest and of
    equals the one with the lower index. While a block holds one nearer than the worst kept, it takes that one's place:
    often in the first blocks, seldom later, since most nodes are far.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    image = tl.program_id(1).to(tl.int64) * count
    row_is_node = rows < count
    own = tl.load(squared_norms + image + rows, mask=row_is_node, other=0.0)
    place = tl.arange(0, KEPT)[None, :]
    none = tl.full((1, 1), -0x7FFFFFFFFFFFFFFF, tl.int64)
    best = tl.zeros((ROWS, KEPT), tl.int64) + none + place  # of different values, so that one at a time is replaced
    for start in range(0, count, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        column_is_node = columns < count
        product = tl.zeros((ROWS, COLUMNS), tl.float32)
        for deep in range(0, dim, DEPTH):
            depth = deep + tl.arange(0, DEPTH)
            in_depth = depth < dim
            a = tl.load(
                nodes + (image + rows[:, None]) * dim + depth[None, :],
                mask=row_is_node[:, None] & in_depth[None, :],
                other=0.0,
            )
            b = tl.load(
                nodes + (image + columns[None, :]) * dim + depth[:, None],
                mask=column_is_node[None, :] & in_depth[:, None],
                other=0.0,
            )
            product = tl.dot(a, b, product, input_precision="ieee")
        other = tl.load(squared_norms + image + columns, mask=column_is_node, other=0.0)
        distance = own[:, None] - 2 * product + other[None, :]
        distance = tl.where(distance == distance, tl.maximum(distance, 0.0), 8.0)  # what is no number comes last
        steps = (distance * steps_per_unit + 0.5).to(tl.int32)
        steps = tl.where(rows[:, None] == columns[None, :], -1, steps)
        near = ~((steps.to(tl.int64) << 32) | columns[None, :].to(tl.int64))
        near = tl.where(column_is_node[None, :], near, none - 1)
        nearest_here = tl.max(near, axis=1)[:, None]
        worst = tl.min(best, axis=1)[:, None]
        while tl.max((nearest_here > worst).to(tl.int32)) > 0:
            best = tl.where((best == worst) & (nearest_here > worst), nearest_here, best)
            near = tl.where(near == nearest_here, none - 1, near)
            nearest_here = tl.max(near, axis=1)[:, None]
            worst = tl.min(best, axis=1)[:, None]
    for rank in range(0, k * dilation):
        nearest_left = tl.max(best, axis=1)
        best = tl.where(best == nearest_left[:, None], none - 1, best)
        if rank % dilation == 0:
            tl.store(nearest + (image + rows) * k + rank // dilation, (~nearest_left) & 0xFFFFFFFF, mask=row_is_node)
