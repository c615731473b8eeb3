"""Mixed precision, where the hardware has it."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor

from monch_monai.settings import flag


def cpu_capabilities() -> dict[str, Any]:
    """What PyTorch reports of the processor; empty where this PyTorch is too old to report it."""
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
    """Runs another inferer under bfloat16 autocast, on CPU and on CUDA, and returns float32.

    bfloat16 has float32's range, so training needs no gradient scaler. (MONAI's own `amp` is for CUDA only.)

    Args:
        inferer: the one to run.
        amp: False computes in float32; True uses bfloat16 where the hardware has it.

    Raises:
        InputError: `amp` is neither true nor false.
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
