"""How a network is applied to images: in mixed precision, and at the resolution it was trained for."""

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from torch import Tensor

from monch_monai.errors import InputError
from monch_monai.settings import flag

NETWORK_MPP = 0.25
COARSEST = 2.0

logger = logging.getLogger(__name__)


def cpu_capabilities() -> dict[str, Any]:
    """What PyTorch knows of the processor; nothing where it is too old to tell."""
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether the device computes in bfloat16 by hardware, so that mixed precision is faster there."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.device(device).type == "cpu":
        able = cpu_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
    return False


class MixedPrecisionInferer(Inferer):
    """Runs another inferer under bfloat16 autocast, on CPU and on CUDA alike, and returns float32.

    bfloat16 has float32's range, so training needs no gradient scaler. (MONAI's own `amp` is for CUDA only.)

    Args:
        inferer: the one to run.
        amp: False computes in float32; True uses bfloat16 where the hardware has it.
    """

    def __init__(self, inferer: Inferer | None = None, amp: bool | str = True) -> None:
        self.inferer = inferer if inferer is not None else SimpleInferer()
        self.amp = flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Prediction of `network` for `inputs`, float32."""
        enabled = self.amp and has_fast_bfloat16(inputs.device)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=enabled):
            # A MetaTensor would carry its bookkeeping through every layer.
            prediction: Tensor = self.inferer(inputs.as_subclass(Tensor), network, *args, **kwargs)
        return prediction.float()


class FieldInferer(SlidingWindowInferer):
    """MONAI's sliding windows for images larger than a window; smaller ones, as training tiles are, run whole."""

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Logits `[B, T, H, W]` for images `[B, 3, H, W]`."""
        if all(size <= window for size, window in zip(inputs.shape[2:], self.roi_size, strict=True)):
            return network(inputs, *args, **kwargs)
        logits: Tensor = super().__call__(inputs, network, *args, **kwargs)
        return logits


class ResolutionInferer(Inferer):
    """Runs another inferer on images resampled to 0.25 µm/px, and brings its logits back to the images' size.

    Args:
        inferer: the one to run.
        mpp: resolution of the images, µm per pixel.

    Raises:
        InputError: `mpp` is not a positive number, or so coarse that a nucleus has no pixels to be known by.
    """

    def __init__(self, inferer: Inferer, mpp: float = NETWORK_MPP) -> None:
        if not isinstance(mpp, int | float) or not 0 < mpp <= COARSEST:
            raise InputError(f"mpp is {mpp!r}; give µm per pixel, above 0 and up to {COARSEST:g} (40x is about 0.25)")
        self.inferer = inferer
        self.mpp = mpp
        logger.info("images are taken to be at %g µm/px (--mpp)", mpp)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Logits `[B, T, H, W]` for images `[B, 3, H, W]`."""
        if self.mpp == NETWORK_MPP:
            logits: Tensor = self.inferer(inputs, network, *args, **kwargs)
            return logits
        size = inputs.shape[-2:]
        scaled = [max(1, round(s * self.mpp / NETWORK_MPP)) for s in size]
        at_network_mpp = F.interpolate(inputs, size=scaled, mode="bilinear", align_corners=False, antialias=True)
        logits = self.inferer(at_network_mpp, network, *args, **kwargs)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False, antialias=True)
