"""The high-pass filter by a Triton kernel: a whole map in one program, read once and written once."""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from monch_monai.ops.high_pass.separable import low_waves

SMALLEST_SIDE = 16
"""Of a block that `tl.dot` takes."""


def high_pass(x: Tensor, cutoff: float, residual: bool) -> Tensor:
    """Filtered maps `[..., H, W]` with a box removed, in the type and (where dense) the layout of `x`."""
    height, width = x.shape[-2:]
    if not x.is_contiguous() and not (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        x = x.contiguous()
    filtered = torch.empty_like(x)
    # Images and channels; a map of fewer axes has one of each.
    channels = x.shape[-3] if x.ndim == 4 else x.numel() // (height * width)
    images = x.shape[0] if x.ndim == 4 else 1
    image_stride, channel_stride = x.stride()[:2] if x.ndim == 4 else (0, height * width)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    low_y, low_x = (_projection(side, cutoff, wide, x.device) for side in (height, width))
    strides = (image_stride, channel_stride, x.stride(-2), x.stride(-1))
    block_y, block_x = (max(SMALLEST_SIDE, triton.next_power_of_2(side)) for side in (height, width))
    weight = 2.0 if residual else 1.0
    _filter[(channels, images)](x, low_y, low_x, filtered, height, width, *strides, weight, block_y, block_x)
    return filtered


@functools.lru_cache(maxsize=64)
def _projection(side: int, cutoff: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    waves = low_waves(side, cutoff)
    with torch.inference_mode(False):
        return (waves @ waves.mT).to(device, dtype)


@triton.jit
def _filter(
    x, low_y, low_x, filtered, height, width, image_stride, channel_stride, row_stride, column_stride, weight,
    BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """One map: `weight * x - low_y x low_x`, by the projections themselves, which are symmetric."""
    rows, columns = tl.arange(0, BLOCK_Y), tl.arange(0, BLOCK_X)
    row_inside, column_inside = rows < height, columns < width
    inside = row_inside[:, None] & column_inside[None, :]
    wide = low_y.dtype.element_ty
    start = tl.program_id(1).to(tl.int64) * image_stride + tl.program_id(0).to(tl.int64) * channel_stride
    at = start + rows[:, None] * row_stride + columns[None, :] * column_stride
    value = tl.load(x + at, mask=inside, other=0.0).to(wide)
    down = tl.load(
        low_y + rows[:, None] * height + rows[None, :], mask=row_inside[:, None] & row_inside[None, :], other=0.0
    )
    across = tl.load(
        low_x + columns[:, None] * width + columns[None, :],
        mask=column_inside[:, None] & column_inside[None, :],
        other=0.0,
    )
    low = tl.dot(value, across, input_precision="ieee", out_dtype=wide)
    low = tl.dot(down, low, input_precision="ieee", out_dtype=wide)
    tl.store(filtered + at, (weight * value - low).to(filtered.dtype.element_ty), mask=inside)
