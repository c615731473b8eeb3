"""Dilated k nearest neighbours as a PyTorch operator."""

from collections.abc import Iterator

import torch
from torch import Tensor

from monch_monai.ops.choice import choose, is_traced
from monch_monai.ops.knn import reference

CHUNK = 2**18
"""Distances held at once without Triton, about 10 MB: faster on a CPU than more or fewer."""
MOST_KEPT = 128
"""Neighbours before dilation that the Triton kernel sorts at most."""


def knn(features: Tensor, k: int = 9, dilation: int = 1) -> Tensor:
    """Indices of each node's dilated k nearest neighbours among the nodes of its own image.

    Eq. (5): `D = |x|^2 - 2 x.x^T + |x|^2^T` over L2-normalised features, as the graph layer of Vision GNN (Han et al.,
    2022) takes them. Of the `k * dilation` nearest nodes every `dilation`-th is kept, the nearest first. A node is its
    own nearest neighbour. Ties go to the lower index; an all-zero feature is at distance 1 from every other. Distances
    differ from 2^-24 on (from 2^-40 for float64 features), under autocast too; indices carry no gradient.

    Memory is O(N * k): a Triton kernel on GPUs, elsewhere some rows at a time, with the same result for any number of
    rows. The kernel sums in float32, so neighbours whose distances differ by rounding alone (about 1e-6) may change
    places. `MONCH_OPS` chooses (`monch_monai.ops.choice`); a traced or exported graph holds plain operators in float32.

    Args:
        features: `[B, N, D]`, any floating type and memory layout.
        k: neighbours kept for each node.
        dilation: step through the sorted neighbours.

    Returns:
        `[B, N, k]` int64, each in `[0, N)`.

    Raises:
        ValueError: `features` is not of rank 3 and floating, `k` or `dilation` is below 1, or `k * dilation > N`.
        InputError: `MONCH_OPS` is unknown, or names an implementation that cannot run this call.

    Examples:
        Four points in two directions:

        >>> points = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]]])
        >>> knn(points, k=2).tolist()
        [[[0, 2], [1, 3], [2, 0], [3, 1]]]
    """
    if features.ndim != 3 or not features.is_floating_point():
        given = f"{list(features.shape)} of {features.dtype}"
        raise ValueError(f"knn takes floating features [B, N, D]; got {given}: flatten maps first")
    if k < 1 or dilation < 1:
        raise ValueError(f"knn takes k >= 1 and dilation >= 1; got k = {k}, dilation = {dilation}")
    if k * dilation > features.shape[1]:
        needed = f"knn needs at least k * dilation = {k * dilation} nodes"
        raise ValueError(f"{needed}; got {features.shape[1]}: lower k or the dilation, or give a larger map")
    if is_traced():
        return _traced(features, k, dilation)
    nearest: Tensor = _knn(features, k, dilation)
    return nearest


@torch.library.custom_op("monch::knn", mutates_args=())
def _knn(features: Tensor, k: int, dilation: int) -> Tensor:
    if choose("knn", features.device, _obstacle(features, k * dilation)) == "triton":
        from monch_monai.ops.knn import triton_kernels

        return triton_kernels.knn(features, k, dilation)
    return by_rows(features, k, dilation)


@_knn.register_fake
def _(features: Tensor, k: int, dilation: int) -> Tensor:
    return features.new_empty((*features.shape[:2], k), dtype=torch.int64)


def _no_gradient(ctx: object, gradient: Tensor) -> tuple[None, None, None]:
    return None, None, None


_knn.register_autograd(_no_gradient)
for _device in ("cpu", "cuda"):
    _knn.register_autocast(_device, torch.float32)


def by_rows(features: Tensor, k: int, dilation: int, chunk: int = CHUNK) -> Tensor:
    """The reference, some rows at a time, and without sorting what is not kept: `[B, N, k]` int64.

    `chunk` distances are held at once; the result does not depend on it. The other arguments are those of `knn`.
    """
    batch, count, _ = features.shape
    # Apple's GPUs have no float64.
    nodes = reference.unit_nodes(features, torch.float32 if features.device.type == "mps" else torch.float64)
    step = reference.step_of(features)
    nearest = torch.empty((batch, count, k), dtype=torch.int64, device=features.device)
    for images, rows in _pieces(batch, count, chunk):
        steps = reference.steps_apart(nodes[images, rows], nodes[images], step, rows.start)
        nearest[images, rows] = _first(steps, k * dilation)[..., ::dilation]
    return nearest


def _traced(features: Tensor, k: int, dilation: int) -> Tensor:
    """By operators that every runtime has: in float32, except where features are finer."""
    with torch.autocast(features.device.type, enabled=False):
        nodes = reference.unit_nodes(features, torch.promote_types(features.dtype, torch.float32))
        return _first(reference.steps_apart(nodes, nodes, reference.step_of(features)), k * dilation)[..., ::dilation]


def _first(steps: Tensor, kept: int) -> Tensor:
    """Indices of the smallest of `[B, M, N]` whole numbers, in order, of equals the first: `[B, M, kept]`."""
    count = steps.shape[-1]
    key = steps.long() * count + torch.arange(count, device=steps.device)  # by distance, then by index; all different
    return key.topk(kept, largest=False).indices


def _pieces(batch: int, count: int, chunk: int) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of rows, of about `chunk` distances each: several small images or some rows of one."""
    images = max(1, chunk // max(1, count * count))
    rows = count if images > 1 else max(1, chunk // max(1, count))
    for image in range(0, batch, images):
        for row in range(0, count, rows):
            yield slice(image, image + images), slice(row, row + rows)


def _obstacle(features: Tensor, kept: int) -> str:
    if features.dtype == torch.float64:
        return "the kernel computes in float32, and features are float64"
    return f"the kernel keeps at most {MOST_KEPT} neighbours; got k * dilation = {kept}" if kept > MOST_KEPT else ""
