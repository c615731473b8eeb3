"""Max-relative aggregation as a PyTorch operator."""

from typing import Any

import torch
from torch import Tensor

from monch_monai.ops.choice import choose, is_traced
from monch_monai.ops.max_relative import reference


def max_relative(nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Largest difference `x_j - x_i` over the neighbours j of each node i, channel by channel.

    The aggregation of Vision GNN's graph layer (Han et al., 2022), in the type of the nodes. Where several neighbours
    are largest in a channel they share its gradient evenly, as in `Tensor.amax`.

    On GPUs a Triton kernel gathers and compares at once, memory O(N * D). Its backward recomputes the largest and adds
    in float32 by atomics, in no fixed order: where `torch.use_deterministic_algorithms` is on, the reference runs.
    `MONCH_OPS` chooses (`monch_monai.ops.choice`).

    Args:
        nodes: `[B, N, D]`, any floating type and memory layout.
        neighbours: `[B, N, K]` int64, K at least 1; indices in `[0, N)`, as `knn` returns, unchecked on GPUs.

    Returns:
        `[B, N, D]`, contiguous, type of `nodes`.

    Raises:
        ValueError: `nodes` is not of rank 3 and floating, or `neighbours` not int64 `[B, N, K]` with the same B and N.
        InputError: `MONCH_OPS` is unknown, or names an implementation that cannot run this call.

    Examples:
        Two nodes, each with itself and the other as neighbours:

        >>> nodes, neighbours = torch.tensor([[[1.0, 5.0], [2.0, 3.0]]]), torch.tensor([[[0, 1], [1, 0]]])
        >>> max_relative(nodes, neighbours).tolist()
        [[[1.0, 0.0], [0.0, 2.0]]]
    """
    if nodes.ndim != 3 or not nodes.is_floating_point():
        given = f"{list(nodes.shape)} of {nodes.dtype}"
        raise ValueError(f"max_relative takes floating nodes [B, N, D]; got {given}: flatten maps first")
    fits = neighbours.ndim == 3 and neighbours.shape[:2] == nodes.shape[:2] and neighbours.shape[2] > 0
    if not fits or neighbours.dtype != torch.int64:
        expected = f"int64 neighbours [{nodes.shape[0]}, {nodes.shape[1]}, K] of these nodes"
        given = f"{list(neighbours.shape)} of {neighbours.dtype}"
        raise ValueError(f"max_relative takes {expected}; got {given}: give what knn returns")
    relative: Tensor = (reference.max_relative if is_traced() else _max_relative)(nodes, neighbours)
    return relative


@torch.library.custom_op("monch::max_relative", mutates_args=())
def _max_relative(nodes: Tensor, neighbours: Tensor) -> Tensor:
    if choose("max_relative", nodes.device) == "triton":
        from monch_monai.ops.max_relative import triton_kernels

        return triton_kernels.max_relative(nodes, neighbours)
    return reference.max_relative(nodes, neighbours).contiguous()


@torch.library.custom_op("monch::max_relative_backward", mutates_args=())
def _max_relative_backward(gradient: Tensor, nodes: Tensor, neighbours: Tensor) -> Tensor:
    obstacle = "deterministic algorithms are on" if torch.are_deterministic_algorithms_enabled() else ""
    if choose("max_relative's backward", nodes.device, obstacle) == "triton":
        from monch_monai.ops.max_relative import triton_kernels

        return triton_kernels.max_relative_backward(gradient, nodes, neighbours)
    return reference.max_relative_backward(gradient, nodes, neighbours).contiguous()


@_max_relative.register_fake
def _(nodes: Tensor, neighbours: Tensor) -> Tensor:
    return nodes.new_empty(nodes.shape)


@_max_relative_backward.register_fake
def _(gradient: Tensor, nodes: Tensor, neighbours: Tensor) -> Tensor:
    return nodes.new_empty(nodes.shape)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return _max_relative_backward(gradient, *ctx.saved_tensors), None


_max_relative.register_autograd(_backward, setup_context=_setup)
