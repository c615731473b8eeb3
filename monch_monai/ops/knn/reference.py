"""The plain definition of dilated k nearest neighbours, by which faster ones are judged."""

import torch
import torch.nn.functional as F
from torch import Tensor


def knn(features: Tensor, k: int = 9, dilation: int = 1) -> Tensor:
    """Indices of each node's dilated k nearest neighbours among the nodes of its own image.

    Eq. (5): `D = |x|^2 - 2 x.x^T + |x|^2^T` over L2-normalised features, as the graph layer of Vision GNN (Han et al.,
    2022) takes them. Of the `k * dilation` nearest nodes every `dilation`-th is kept, the nearest first. A node is its
    own nearest neighbour. Ties go to the lower index; an all-zero feature is at distance 1 from every other.
    Distances are float32 (float64 for float64 input), whatever autocast says; indices carry no gradient.

    Args:
        features: `[B, N, D]`, any floating type and memory layout.
        k: neighbours kept for each node.
        dilation: step through the sorted neighbours.

    Returns:
        `[B, N, k]` int64, each in `[0, N)`.

    Raises:
        ValueError: `features` is not of rank 3 and floating, `k` or `dilation` is below 1, or `k * dilation > N`.
    """
    if features.ndim != 3 or not features.is_floating_point():
        raise ValueError(
            f"knn takes floating features [B, N, D]; got {list(features.shape)} of {features.dtype}: flatten maps first"
        )
    if k < 1 or dilation < 1:
        raise ValueError(f"knn takes k >= 1 and dilation >= 1; got k = {k}, dilation = {dilation}")
    if k * dilation > features.shape[1]:
        raise ValueError(
            f"knn needs at least k * dilation = {k * dilation} nodes; got {features.shape[1]}: "
            "lower k or the dilation, or give a larger map"
        )
    with torch.autocast(features.device.type, enabled=False), torch.no_grad():
        if features.dtype != torch.float64:
            features = features.float()
        x = F.normalize(features, dim=-1)
        squared_norm = x.square().sum(dim=-1, keepdim=True)  # [B, N, 1]
        distance = squared_norm - 2 * x @ x.mT + squared_norm.mT  # [B, N, N]
        # A node is its own nearest, also where rounding puts its copy a hair closer.
        distance.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        nearest = distance.sort(dim=-1, stable=True).indices
    return nearest[..., : k * dilation : dilation]
