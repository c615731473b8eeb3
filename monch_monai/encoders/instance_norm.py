"""Instance normalisation in the place of an image encoder's batch normalisation.

With batch normalisation a network can recognise fields by their stain; instance normalisation removes the stain's level
and contrast, image by image (Ulyanov et al., 2016; for images unlike those trained on: IBN-Net, Pan et al., 2018).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monch_monai.encoders.image import ImageEncoder
from monch_monai.errors import InputError
from monch_monai.ops.choice import is_traced

INSTANCE_NORM = "instance_norm"
"""Name of the setting, and of the bool buffer in which an encoder stores whether it was exchanged."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class InstanceNorm(nn.InstanceNorm2d):
    """The same as `torch.nn.InstanceNorm2d`; on the CPU computed as batch normalisation of one image after another.

    Maps stay channels-last, the layout in which convolutions are fastest: a step of RN50 takes two thirds of its time
    with PyTorch's, which converts them there and back. On GPUs PyTorch's own runs.
    """

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's own name
        """`[B, C, H, W]` to `[B, C, H, W]`: each channel of an image to mean 0, variance 1, then scaled and shifted."""
        if not input.is_cpu or is_traced() or torch.compiler.is_compiling():
            return super().forward(input)
        images = [F.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps) for x in input.split(1)]
        return torch.cat(images)


def use_instance_norm(encoder: ImageEncoder) -> None:
    """Exchanges an encoder's batch normalisation for instance normalisation, in place; scales and shifts stay.

    Raises:
        InputError: `encoder` has no batch normalisation.
    """
    if not hasattr(encoder, INSTANCE_NORM):
        raise InputError(f"{encoder.name} has no batch normalisation to exchange: give --{INSTANCE_NORM} false")
    for parent in list(encoder.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm):
                exchanged = InstanceNorm(norm.num_features, norm.eps, affine=True)
                exchanged.weight, exchanged.bias = norm.weight, norm.bias  # an optimiser may hold them
                setattr(parent, name, exchanged)
    encoder.get_buffer(INSTANCE_NORM).fill_(True)


def normalisation(encoder: ImageEncoder) -> str | None:
    """`batch` or `instance`; None for an encoder that is published without batch normalisation."""
    if any(isinstance(module, InstanceNorm) for module in encoder.modules()):
        return "instance"
    return "batch" if hasattr(encoder, INSTANCE_NORM) else None


def follow_checkpoints(encoder: ImageEncoder) -> None:
    """Lets an encoder change to the normalisation of the weights that are loaded into it.

    A buffer in the state dict stores which that is; weights without the buffer are of batch normalisation.
    """
    encoder.register_buffer(INSTANCE_NORM, torch.tensor(False))
    encoder.register_load_state_dict_pre_hook(_follow)  # type: ignore[no-untyped-call]


def forget_statistics(state: dict[str, Any], prefix: str) -> None:
    """Deletes the running statistics under `prefix` from a state dict: instance normalisation has none."""
    for name in _statistics(state, prefix):
        del state[name]


def _statistics(state: dict[str, Any], prefix: str) -> list[str]:
    return [name for name in state if name.startswith(prefix) and name.rpartition(".")[2] in STATISTICS]


def _follow(encoder: Any, state: dict[str, Any], prefix: str, *others: Any) -> None:
    *_, errors = others
    own = encoder.get_buffer(INSTANCE_NORM)
    theirs = state.setdefault(prefix + INSTANCE_NORM, own & (not _statistics(state, prefix)))
    if theirs.any():
        forget_statistics(state, prefix)
        use_instance_norm(encoder)
    elif own:
        errors.append(f"these weights are of batch normalisation: give --{INSTANCE_NORM} false")
