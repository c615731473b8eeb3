"""The high-pass filter as a PyTorch operator."""

import functools
from typing import Any

import torch
from torch import Tensor

from monch_monai.ops.choice import choose, is_traced
from monch_monai.ops.high_pass import reference, separable

SHAPES = ("box", "circle")
LARGEST_BY_PRODUCTS = {"cpu": (256, 0.5)}
"""Longest side and cutoff up to which matrix products are faster than the transform, by device; elsewhere the
transform. Measured on CPUs only (bundle/docs/benchmarks.md)."""
LARGEST_BY_TRITON = 64
"""Longest side of a map that the Triton kernel holds whole."""


def high_pass(x: Tensor, cutoff: float = 0.25, shape: str = "box", residual: bool = False) -> Tensor:
    """High-frequency part of a map: its spectrum without the low frequencies around zero.

    Eqs. (2) and (3): `x - lowpass(x)` by way of the discrete Fourier transform; with `residual` the map is added, Eq.
    (4): `F^h = 2 x - lowpass(x)`. The paper states only that the filter rests on the map's resolution. Here a frequency
    is low when both `|f_y| < cutoff / 2` and `|f_x| < cutoff / 2` in cycles per pixel (Nyquist is 0.5), so `cutoff` is
    the share of each axis of the spectrum that is removed, at any resolution. As a circle, a frequency is low
    when `f_y^2 + f_x^2 < (cutoff / 2)^2`. Borders wrap, as the transform's do. A constant map gives zero (with
    `residual`, itself) for any `cutoff` above 0. Computed in float32 (float64 for float64 input) under autocast too,
    rounded once, and returned in the type of `x`.

    A box is removed by four small matrix products where that is faster than the transform (`LARGEST_BY_PRODUCTS`); the
    two agree to 1e-5 for maps of unit variance. `MONCH_OPS` chooses (`monch_monai.ops.choice`): `reference` is the
    transform, `triton` a kernel for boxes and maps of up to 64x64. A traced or exported graph holds plain operators:
    for a box matrix products, for maps of any size; for a circle the transform.

    Args:
        x: `[..., H, W]`, any floating type and memory layout; channels-last stays channels-last.
        cutoff: share of each frequency axis that is removed, in [0, 1].
        shape: of what is removed, `box` or `circle`.
        residual: True adds the map itself.

    Returns:
        `[..., H, W]`, type of `x`.

    Raises:
        ValueError: `x` is not floating or has fewer than two axes, `cutoff` is outside [0, 1], or `shape` unknown.
        InputError: `MONCH_OPS` is unknown, or names an implementation that cannot run this call.

    Examples:
        >>> constant = torch.full((1, 1, 8, 8), 3.0)
        >>> high_pass(constant).abs().max().item() < 1e-5, high_pass(constant, residual=True).mean().round().item()
        (True, 3.0)
    """
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"high_pass takes floating maps [..., H, W]; got {list(x.shape)} of {x.dtype}")
    if not 0 <= cutoff <= 1:
        raise ValueError(f"high_pass takes a cutoff in [0, 1], a share of the spectrum; got {cutoff}")
    if shape not in SHAPES:
        raise ValueError(f"high_pass takes a shape of {list(SHAPES)}; got {shape!r}")
    if is_traced():
        return _traced(x, cutoff, shape, residual)
    filtered: Tensor = _high_pass(x, cutoff, shape, residual)
    return filtered.to(x.dtype)  # under autocast the operator returns float32


@torch.library.custom_op("monch::high_pass", mutates_args=())
def _high_pass(x: Tensor, cutoff: float, shape: str, residual: bool) -> Tensor:
    if x.numel() == 0:
        return torch.empty_like(x, memory_format=_layout(x))
    choice = choose("high_pass", x.device, _obstacle(x, shape), by_default=False)
    if choice == "triton":
        from monch_monai.ops.high_pass import triton_kernels

        filtered = triton_kernels.high_pass(x, cutoff, residual)
    elif choice == "reference":
        filtered = reference.high_pass(x, cutoff, shape, residual)
    else:
        filtered = _fastest(x, cutoff, shape, residual)
    return filtered.contiguous(memory_format=_layout(x))


@_high_pass.register_fake
def _(x: Tensor, cutoff: float, shape: str, residual: bool) -> Tensor:
    return torch.empty_like(x, memory_format=_layout(x))


def _setup(ctx: Any, inputs: tuple[Tensor, float, str, bool], output: Tensor) -> None:
    ctx.settings = inputs[1:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    return _high_pass(gradient, *ctx.settings), None, None, None  # the filter is its own adjoint


_high_pass.register_autograd(_backward, setup_context=_setup)
for _device in ("cpu", "cuda"):
    _high_pass.register_autocast(_device, torch.float32)


def _fastest(x: Tensor, cutoff: float, shape: str, residual: bool) -> Tensor:
    wide = x if x.dtype == torch.float64 else x.float()
    longest_side, largest_cutoff = LARGEST_BY_PRODUCTS.get(x.device.type, (0, 0.0))
    height, width = x.shape[-2:]
    if shape == "circle" or max(height, width) > longest_side or cutoff > largest_cutoff:
        gain = _gain(height, width, cutoff, shape, residual, wide.dtype, x.device)
        return reference.by_transform(wide, gain).to(x.dtype)
    waves_y, waves_x = (_waves(side, cutoff, wide.dtype, x.device) for side in (height, width))
    channels_last = _layout(x) == torch.channels_last
    products = separable.by_products_channels_last if channels_last else separable.by_products
    return products(wide, waves_y, waves_x, residual).to(x.dtype)


@functools.lru_cache(maxsize=64)
def _gain(
    height: int, width: int, cutoff: float, shape: str, residual: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):
        return reference.spectrum_gain(height, width, cutoff, shape, residual).to(device, dtype)


@functools.lru_cache(maxsize=64)
def _waves(side: int, cutoff: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return separable.low_waves(side, cutoff).to(device, dtype)


def _traced(x: Tensor, cutoff: float, shape: str, residual: bool) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        if shape == "circle":
            return reference.high_pass(x, cutoff, shape, residual)
        wide = x if x.dtype == torch.float64 else x.float()
        onto_y, onto_x = (separable.low_projection(side, cutoff).to(wide) for side in x.shape[-2:])
        return separable.by_projections(wide, onto_y, onto_x, residual).to(x.dtype)


def _layout(x: Tensor) -> torch.memory_format:
    """Channels-last of a map that is so and not contiguous as well, else contiguous."""
    if x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _obstacle(x: Tensor, shape: str) -> str:
    if shape != "box":
        return f"the kernel removes a box; got {shape}"
    if max(x.shape[-2:]) > LARGEST_BY_TRITON:
        size = "x".join(str(side) for side in x.shape[-2:])
        return f"the kernel holds maps of up to {LARGEST_BY_TRITON}x{LARGEST_BY_TRITON}; got {size}"
    return ""
