"""Mixed precision, where the hardware has it."""

from collections.abc import Callable
from typing import Any

import torch
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


class MixedPrecisionInferer:
    """Runs a network, or another inferer with it, under bfloat16 autocast, on CPU and on CUDA, and returns float32.

    bfloat16 has float32's range, so training needs no gradient scaler. (MONAI's own `amp` is for CUDA only.
    Its trainers take any callable as inferer, so that this class does without MONAI.)

    Args:
        inferer: runs the network; where None, the network is called with the inputs, as by MONAI's `SimpleInferer`.
        amp: False computes in float32; True uses bfloat16 where the hardware has it.

    Raises:
        InputError: `amp` is neither true nor false.
    """

    def __init__(self, inferer: Callable[..., Tensor] | None = None, amp: bool | str = True) -> None:
        self.inferer = inferer
        self.amp = flag("amp", amp)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Prediction of `network` for `inputs`, float32."""
        enabled = self.amp and has_fast_bfloat16(inputs.device)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=enabled):
            # A MetaTensor would carry its bookkeeping through every layer.
            plain = inputs.as_subclass(Tensor)
            run = network if self.inferer is None else self.inferer
            more = args if self.inferer is None else (network, *args)
            prediction: Tensor = run(plain, *more, **kwargs)
        return prediction.float()
