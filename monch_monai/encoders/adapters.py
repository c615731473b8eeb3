"""Low-rank adapters (LoRA, Hu et al., 2022): an encoder fine-tuned by a few parameters, as SAMed and MA-SAM do."""

import importlib.util
import re

from torch import Tensor

from monch_monai.encoders.image import ImageEncoder
from monch_monai.errors import InputError

ADAPTED = "qkv"
"""The layers that get adapters: queries, keys and values of each attention."""
NAME = re.compile(r"(.*)\.lora_A\.default\.weight")


def add_adapters(encoder: ImageEncoder, rank: int) -> None:
    """Freezes `encoder` and adds adapters of `rank` to its attention; these alone are trained.

    Raises:
        InputError: `encoder` has no attention, or the package peft is not installed.
    """
    if not any(name.endswith(f".{ADAPTED}") for name, _ in encoder.named_modules()):
        raise InputError(f"{encoder.name} has no attention layers to adapt: leave lora_rank at 0")
    if importlib.util.find_spec("peft") is None:
        raise InputError("lora_rank needs the package peft: pip install peft")
    from peft import LoraConfig, inject_adapter_in_model

    encoder.freeze()
    # alpha = rank: adapters are added unscaled, so that merging them needs no other number
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=[ADAPTED]), encoder)


def merge_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with its adapters added to the weights they adapt, under the names of a network without adapters.

    Raises:
        InputError: one of an adapter's two matrices or the weights that it adapts are missing from `state`.
    """
    merged = {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}
    for name, down in state.items():
        match = NAME.fullmatch(name)
        if match:
            adapted, other = f"{match[1]}.weight", f"{match[1]}.lora_B.default.weight"
            if adapted not in merged or other not in state:
                raise InputError(f"the weights have the adapter {name}, but not {other} and what both adapt")
            merged[adapted] = merged[adapted] + state[other] @ down
    return merged
