"""Which implementation of an op runs: `MONCH_OPS=auto|reference|triton`."""

import functools
import importlib.util
import os

import torch

from monch_monai.errors import InputError

CHOICES = ("auto", "reference", "triton")
OLDEST_GPU = (8, 0)
"""CUDA's compute capability from which on Triton is supported."""


def choose(op: str, device: torch.device, obstacle: str = "", by_default: bool = True) -> str:
    """What to run: `triton`; `reference`, the plain definition; or `auto`, the fastest without Triton.

    The environment variable `MONCH_OPS` is read at each call. By its default, `auto`, Triton runs on GPUs where the
    kernel can and `by_default` is true. Triton's interpreter (`TRITON_INTERPRET=1`, a debugging aid that runs kernels
    on the CPU, slowly) runs only where `triton` is named. At its first use on a device a kernel is compared with the
    definition (`self_check`); where the two disagree, a warning states so and the definition runs from then on.

    Args:
        op: name of the op, for the message.
        device: of the op's tensors.
        obstacle: why this call is not for the kernel; empty where it is.
        by_default: whether `auto` takes the kernel.

    Raises:
        InputError: `MONCH_OPS` is none of the three, or it is `triton` and the kernel cannot run this call.
    """
    choice = os.environ.get("MONCH_OPS", "auto")
    if choice not in CHOICES:
        raise InputError(f"MONCH_OPS is {choice!r}; give one of {', '.join(CHOICES)}")
    if choice == "reference":
        return choice
    obstacle = _obstacle(device.type, device.index) or obstacle
    if choice == "auto" and (obstacle or not by_default or device.type != "cuda"):
        return choice
    if obstacle:
        raise InputError(f"MONCH_OPS=triton cannot run {op}: {obstacle}; use auto or reference")
    return "triton" if _is_recording(device) or _agrees(op, device) else "reference"


def is_traced() -> bool:
    """Whether a graph is being made that must run without this package: by tracing, `torch.export` or to ONNX."""
    by_jit: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return by_jit or torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def _is_recording(device: torch.device) -> bool:
    """Whether a graph is being made, in which nothing else may run."""
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return capturing or torch.compiler.is_compiling() or is_traced()


def _agrees(op: str, device: torch.device) -> bool:
    from monch_monai.ops import self_check  # imports the ops' definitions, beside which ops import this module

    return self_check.agrees(op.partition("'")[0], device)


@functools.cache
def _obstacle(device_type: str, index: int | None) -> str:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return ""
    if device_type != "cuda":
        return f"the tensors are on {device_type}, and Triton needs a GPU (or TRITON_INTERPRET=1 from the start)"
    if torch.version.hip is None and torch.cuda.get_device_capability(index) < OLDEST_GPU:
        return f"the GPU's compute capability is {torch.cuda.get_device_capability(index)}, below {OLDEST_GPU}"
    return ""
