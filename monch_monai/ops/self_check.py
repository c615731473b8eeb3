"""Triton kernels check themselves: in each process and on each device once, against their definitions."""

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from monch_monai.errors import one_line
from monch_monai.ops.high_pass import reference as high_pass_reference
from monch_monai.ops.knn import reference as knn_reference
from monch_monai.ops.max_relative import reference as max_relative_reference

logger = logging.getLogger(__name__)

CLOSE = 1e-5
"""Difference of float32 results, of maps of unit variance, that rounding explains."""
TYPES = (torch.float32, torch.bfloat16)
"""Of the inputs, where the kernel computes in their type."""
K, DILATION, CUTOFF = 9, 2, 0.25
"""As in the network."""


@functools.cache
def agrees(op: str, device: torch.device) -> bool:
    """Whether an op's kernels, forward and backward, compile and agree with the definition on small inputs.

    Where they do not, a warning states why, once; the reference is to run then. A kernel that ends the process, as an
    illegal access to a GPU's memory does, cannot be caught.

    Args:
        op: `knn`, `max_relative` or `high_pass`.
        device: to run on.
    """
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            problem = CHECKS[op](device)
    except Exception as error:  # Triton's compiler, its driver and the interpreter raise errors of many kinds
        problem = one_line(error) or type(error).__name__
    if problem:
        logger.warning("Triton's kernel of %s is not used on %s: %s; the reference runs", op, device, problem)
    return not problem


def check_knn(device: torch.device) -> str:
    """Compares the distances of the neighbours, rank by rank: equally near ones may change places."""
    from monch_monai.ops.knn import triton_kernels

    features = _noise(2, 70, 41, device=device)
    found = triton_kernels.knn(features, K, DILATION)
    if found.min() < 0 or found.max() >= features.shape[1]:
        return "it finds nodes that do not exist"
    nodes = knn_reference.unit_nodes(features)
    distances = (2 - 2 * nodes @ nodes.mT).clamp(min=0)
    wanted = knn_reference.knn(features, K, DILATION)
    return _difference("neighbours", distances.gather(2, found), distances.gather(2, wanted), torch.float32)


def check_max_relative(device: torch.device) -> str:
    """Compares differences and gradients, of nodes half of which are zero, so that neighbours are largest together."""
    from monch_monai.ops.max_relative import triton_kernels

    neighbours = torch.randint(40, (1, 40, K), generator=torch.Generator().manual_seed(0)).to(device)
    for dtype in TYPES:
        nodes, gradient = (_noise(1, 40, 70, device=device, seed=seed).to(dtype) for seed in (1, 2))
        nodes = nodes.relu()
        pairs: dict[str, tuple[tuple[Tensor, ...], Callable[..., Tensor], Callable[..., Tensor]]] = {
            "differences": ((nodes, neighbours), triton_kernels.max_relative, max_relative_reference.max_relative),
            "gradients": (
                (gradient, nodes, neighbours),
                triton_kernels.max_relative_backward,
                max_relative_reference.max_relative_backward,
            ),
        }
        for what, (given, kernel, plain) in pairs.items():
            wide = [t.float() if t.is_floating_point() else t for t in given]
            if problem := _difference(what, kernel(*given), plain(*wide), dtype):
                return problem
    return ""


def check_high_pass(device: torch.device) -> str:
    """Compares filtered maps, and the filter's adjoint, its backward, by `<kernel(x), g> = <x, definition(g)>`."""
    from monch_monai.ops.high_pass import triton_kernels

    for dtype in TYPES:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = _noise(2, 2, 32, 30, device=device).to(dtype).to(memory_format=layout)
            found = triton_kernels.high_pass(x, CUTOFF, True)
            wanted = high_pass_reference.high_pass(x.float(), CUTOFF, "box", True)
            if problem := _difference("maps", found, wanted, dtype):
                return problem
    x, gradient = (_noise(1, 2, 32, 30, device=device, seed=seed) for seed in (1, 2))
    forward = (triton_kernels.high_pass(x, CUTOFF, False) * gradient).mean()
    backward = (x * high_pass_reference.high_pass(gradient, CUTOFF)).mean()
    return _difference("gradients", forward, backward, torch.float32)


CHECKS: dict[str, Callable[[torch.device], str]] = {
    "knn": check_knn, "max_relative": check_max_relative, "high_pass": check_high_pass,
}  # fmt: skip
"""Op to what returns, of a device, the problem in a phrase; empty where there is none."""


def _difference(what: str, found: Tensor, wanted: Tensor, dtype: torch.dtype) -> str:
    """The largest difference, in a phrase, where rounding to `dtype` does not explain it."""
    largest = (found.double() - wanted.double()).abs().max().item()
    allowed = CLOSE if dtype == torch.float32 else CLOSE + torch.finfo(dtype).eps * wanted.abs().max().item()
    return "" if largest <= allowed else f"its {what} differ by {largest:.3g} from the definition's"


def _noise(*shape: int, device: torch.device, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
