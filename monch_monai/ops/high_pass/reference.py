"""The plain definition of the high-pass filter, by which faster ones are judged."""

import torch
from torch import Tensor


def high_pass(x: Tensor, cutoff: float = 0.25, shape: str = "box", residual: bool = False) -> Tensor:
    """High-frequency part `[..., H, W]` of a map, by the discrete Fourier transform and a mask, Eqs. (2)-(4).

    The arguments are those of `ops.high_pass`. Computed in float32, or float64 for float64 input; in the type of `x`.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    gain = spectrum_gain(x.shape[-2], x.shape[-1], cutoff, shape, residual).to(wide)
    return by_transform(wide, gain).to(x.dtype)


def by_transform(x: Tensor, gain: Tensor) -> Tensor:
    """Map `[..., H, W]` with its half spectrum multiplied by `[H, W // 2 + 1]`."""
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=x.shape[-2:])
    return filtered


def spectrum_gain(height: int, width: int, cutoff: float, shape: str, residual: bool) -> Tensor:
    """Factors `[H, W // 2 + 1]` float64 of the half spectrum: 0 where low and 1 where high, one more if residual."""
    y = share_of_nyquist(height)[:, None]  # [H, 1]
    x = share_of_nyquist(width)[: width // 2 + 1]  # [W // 2 + 1]
    low = (y < cutoff) & (x < cutoff) if shape == "box" else y.square() + x.square() < cutoff**2
    return (~low).double() + residual


def share_of_nyquist(size: int) -> Tensor:
    """Absolute frequency of each of the transform's coefficients, 1 at half a cycle per pixel: `[size]` float64."""
    index = torch.arange(size, dtype=torch.float64)
    return 2 * torch.minimum(index, size - index) / size
