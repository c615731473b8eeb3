"""The plain definition of dilated k nearest neighbours, by which faster ones are judged."""

import torch
import torch.nn.functional as F
from torch import Tensor

STEP = 2.0**-24
"""Distances closer than about this are equal. It is float32's own step just below 1."""
STEP_FLOAT64 = 2.0**-40
"""The same for float64 features."""


def knn(features: Tensor, k: int = 9, dilation: int = 1) -> Tensor:
    """Indices `[B, N, k]` int64 of each node's dilated k nearest neighbours, by sorting all distances of Eq. (5).

    The arguments are those of `ops.knn`.
    """
    nodes = unit_nodes(features)
    nearest = steps_apart(nodes, nodes, step=step_of(features)).sort(dim=-1, stable=True).indices
    return nearest[..., : k * dilation : dilation]


def unit_nodes(features: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """L2-normalised features, contiguous so that equal rows stay equal; all-zero ones stay zero."""
    return F.normalize(features.to(dtype).contiguous(), dim=-1)


def step_of(features: Tensor) -> float:
    """Distance from which on two neighbours differ: finer for float64 features."""
    return STEP_FLOAT64 if features.dtype == torch.float64 else STEP


def steps_apart(queries: Tensor, nodes: Tensor, step: float, first: int = 0) -> Tensor:
    """Distances of Eq. (5), `D = |x|^2 - 2 x.x^T + |x|^2^T`, in whole steps.

    In float64 and rounded to steps, a distance does not depend on the order in which its products are summed, nor on
    the shape of the matrices. In float32 equal nodes would have unequal distances.

    Args:
        queries: rows `first, first + 1, …` of `nodes`, `[B, M, D]`.
        nodes: `[B, N, D]`.
        step: of a distance, which is in [0, 4].
        first: index of the first query among the nodes.

    Returns:
        `[B, M, N]`, the type of `nodes`: whole numbers. A node is at -1 of itself, so nearer than any copy of it; what
        is not a number comes last.
    """
    own, other = (x.square().sum(dim=-1, keepdim=True) for x in (queries, nodes))  # [B, M, 1], [B, N, 1]
    distance = torch.baddbmm(own + other.mT, queries, nodes.mT, alpha=-2)  # [B, M, N]
    steps = (distance.clamp(min=0).nan_to_num(nan=8.0) / step).round()
    at = torch.arange(nodes.shape[1], device=nodes.device)
    itself = at[first : first + queries.shape[1], None] == at  # [M, N]
    return steps.masked_fill(itself, -1.0)
