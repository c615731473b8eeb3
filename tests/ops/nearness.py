"""How good an answer of k-NN is where rounding may let near neighbours change places."""

import torch.nn.functional as F
from torch import Tensor


def farther_than_need_be(features: Tensor, neighbours: Tensor, dilation: int) -> float:
    """Largest difference, in float64, between the distance of a neighbour and that of the one that belongs there."""
    x = F.normalize(features.double(), dim=-1)
    squared_norm = x.square().sum(dim=-1, keepdim=True)
    distance = (squared_norm - 2 * x @ x.mT + squared_norm.mT).clamp(min=0)
    distance.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
    wanted = distance.sort(dim=-1).values[..., : neighbours.shape[-1] * dilation : dilation]
    return float((distance.gather(2, neighbours) - wanted).abs().max())
