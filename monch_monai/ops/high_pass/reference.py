"""The plain definition of the high-pass filter, by which faster ones are judged."""

import torch
from torch import Tensor


def high_pass(x: Tensor, cutoff: float = 0.25) -> Tensor:
    """High-frequency part of a map: its spectrum without a centred box of low frequencies.

    Eqs. (2) and (3): `x - lowpass(x)` by way of the discrete Fourier transform. The paper bases the filter on the
    map's resolution and says no more; here a frequency is low when both `|f_y| < cutoff / 2` and `|f_x| < cutoff / 2`
    in cycles per pixel (Nyquist is 0.5), so `cutoff` is the share of each axis of the spectrum that is removed,
    whatever the resolution. Borders wrap, as the transform's do. A constant map gives zero for any `cutoff` above 0.
    Computed in float32 (float64 for float64 input) whatever autocast says, and returned in the type of `x`.

    Args:
        x: `[..., H, W]`, any floating type and memory layout.
        cutoff: share of each frequency axis that is removed, in [0, 1].

    Returns:
        `[..., H, W]`, type of `x`.

    Raises:
        ValueError: `x` is not floating or has fewer than two axes, or `cutoff` is outside [0, 1].
    """
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"high_pass takes floating maps [..., H, W]; got {list(x.shape)} of {x.dtype}")
    if not 0 <= cutoff <= 1:
        raise ValueError(f"high_pass takes a cutoff in [0, 1], a share of the spectrum; got {cutoff}")
    if x.numel() == 0:
        return x.clone()
    height, width = x.shape[-2:]
    with torch.autocast(x.device.type, enabled=False):
        wide = x if x.dtype == torch.float64 else x.float()
        low_y = torch.fft.fftfreq(height, device=x.device).abs() < cutoff / 2
        low_x = torch.fft.rfftfreq(width, device=x.device).abs() < cutoff / 2
        high = ~(low_y[:, None] & low_x[None, :])  # [H, W // 2 + 1]
        kept: Tensor = torch.fft.irfft2(torch.fft.rfft2(wide) * high, s=(height, width))
    return kept.to(x.dtype)
