"""The plain definition of max-relative aggregation, by which faster ones are judged."""

import torch
from torch import Tensor


def max_relative(nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Largest difference `x_j - x_i`, `[B, N, D]`, over the neighbours j of each node i, channel by channel.

    Nodes are `[B, N, D]`, neighbours `[B, N, K]` int64 indices into N.
    """
    return nodes[images(nodes), neighbours].amax(dim=2) - nodes


def max_relative_backward(gradient: Tensor, nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Gradient of the nodes: that of each difference, taken from its node and shared out among its largest neighbours.

    Both gradients are `[B, N, D]`, nodes and neighbours as in `max_relative`.
    """
    gathered = nodes[images(nodes), neighbours]  # [B, N, K, D]
    largest = (gathered == gathered.amax(dim=2, keepdim=True)).to(gradient.dtype)
    shares = largest * (gradient / largest.sum(dim=2))[:, :, None]
    shared_out = torch.zeros_like(gradient).index_put_((images(nodes), neighbours), shares, accumulate=True)
    return shared_out - gradient


def images(nodes: Tensor) -> Tensor:
    """Index of each image of the batch, `[B, 1, 1]`."""
    return torch.arange(nodes.shape[0], device=nodes.device)[:, None, None]
