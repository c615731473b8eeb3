"""TSEM: the topological structure extraction module."""

import torch
from torch import Tensor, nn

from monch_monai.networks.blocks import conv_norm_act
from monch_monai.ops import knn, max_relative


class Topology(nn.Module):
    """Topological feature of the coarse map: each cell of the map beside its nearest look-alikes, Eqs. (5)-(6).

    The map is normalised and reduced to C/2, its nodes joined to their dilated k nearest neighbours, the largest
    difference to a neighbour taken in each channel (max-relative aggregation, the graph layer of Vision GNN), and
    node and difference together brought back to C and added to the map.

    Args:
        channels: C, even.
        k: neighbours of a node.
        dilation: step through the sorted neighbours. The paper names dilation without its value: here 2.
    """

    def __init__(self, channels: int, k: int = 9, dilation: int = 2) -> None:
        super().__init__()
        self.k, self.dilation = k, dilation
        self.reduce = conv_norm_act(channels, channels // 2, kernel_size=1)
        self.expand = conv_norm_act(channels, channels, kernel_size=1)

    def extra_repr(self) -> str:
        """Settings that shapes of parameters do not show."""
        return f"k={self.k}, dilation={self.dilation}"

    def forward(self, coarse: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H, W]`; `H * W` must be at least `k * dilation`."""
        nodes = self.reduce(coarse).flatten(2).mT  # [B, N, C/2]
        neighbours = knn(nodes, self.k, self.dilation)  # [B, N, K]
        relative = max_relative(nodes, neighbours)  # [B, N, C/2]
        graph = torch.cat([nodes, relative], dim=-1).mT.unflatten(2, coarse.shape[-2:])  # [B, C, H, W]
        topo: Tensor = self.expand(graph) + coarse
        return topo
