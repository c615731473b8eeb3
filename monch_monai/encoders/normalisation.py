"""The normalisation of an image encoder's maps: by batch, by the statistics of its published weights, or by image.

With batch normalisation a network can recognise fields by their stain; instance normalisation removes the stain's level
and contrast, image by image (Ulyanov et al., 2016; for images unlike those trained on: IBN-Net, Pan et al., 2018).
Small batches have poor statistics; published weights come with good ones, which can be kept.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monch_monai.encoders.image import FIXED_STATISTICS, ImageEncoder
from monch_monai.errors import InputError
from monch_monai.ops.choice import is_traced

NORMALISATIONS = ("batch", "fixed", "instance")
INSTANCE_NORM = "instance_norm"
"""Name of the bool buffer in which an encoder stores whether its batch normalisation was exchanged."""
FLAGS = (INSTANCE_NORM, FIXED_STATISTICS)
"""Buffers by which a checkpoint stores the normalisation; published files have none of them."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class InstanceNorm(nn.InstanceNorm2d):
    """The same as `torch.nn.InstanceNorm2d`; on the CPU computed as batch normalisation of one image after another.

    Maps stay channels-last, the layout in which convolutions are fastest: a step of RN50 takes two thirds of its time
    with PyTorch's, which converts them there and back. On GPUs PyTorch's own runs.

    Args:
        num_features: C.
        eps: added to the variance.
        act: activation that follows, which timm's batch normalisation includes.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, act: nn.Module | None = None) -> None:
        super().__init__(num_features, eps, affine=True)
        self.act = nn.Identity() if act is None else act

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's own name
        """`[B, C, H, W]` to `[B, C, H, W]`: each channel of an image to mean 0, variance 1, then scaled and shifted."""
        if not input.is_cpu or is_traced() or torch.compiler.is_compiling():
            normalised = super().forward(input)
        else:
            images = [F.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps) for x in input.split(1)]
            normalised = torch.cat(images)
        activated: Tensor = self.act(normalised)
        return activated


def use_normalisation(encoder: ImageEncoder, kind: str) -> None:
    """Changes an encoder's normalisation, in place; scales and shifts stay. `batch` leaves it as it is.

    Args:
        encoder: changed in place.
        kind: `fixed` keeps the running statistics that the encoder has, in training too; `instance` exchanges batch
            for instance normalisation.

    Raises:
        InputError: `encoder` has no batch normalisation.
    """
    if kind == "batch":
        return
    if not hasattr(encoder, INSTANCE_NORM):
        raise InputError(f"{encoder.name} has no batch normalisation to change: give --normalisation batch")
    if kind == "fixed":
        encoder.get_buffer(FIXED_STATISTICS).fill_(True)
        encoder.train(encoder.training)
        return
    for parent in list(encoder.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm):
                exchanged = InstanceNorm(norm.num_features, norm.eps, getattr(norm, "act", None))
                exchanged.weight, exchanged.bias = norm.weight, norm.bias  # an optimiser may hold them
                setattr(parent, name, exchanged)
    encoder.get_buffer(INSTANCE_NORM).fill_(True)


def normalisation(encoder: ImageEncoder) -> str | None:
    """`batch`, `fixed` or `instance`; None for an encoder that is published without batch normalisation."""
    if any(isinstance(module, InstanceNorm) for module in encoder.modules()):
        return "instance"
    if not hasattr(encoder, INSTANCE_NORM):
        return None
    return "fixed" if encoder.get_buffer(FIXED_STATISTICS) else "batch"


def follow_checkpoints(encoder: ImageEncoder) -> None:
    """Lets an encoder change to the normalisation of the weights that are loaded into it.

    Buffers in the state dict store which that is; weights without them are of batch normalisation.
    """
    for name in FLAGS:
        encoder.register_buffer(name, torch.tensor(False))
    encoder.register_load_state_dict_pre_hook(_follow)  # type: ignore[no-untyped-call]


def add_flags(state: dict[str, Any], expected: dict[str, Any], prefix: str) -> None:
    """Adds the flags that weights of earlier versions lack; takes from `expected` what these weights do not have."""
    for name in FLAGS:
        if prefix + name in expected:
            state.setdefault(prefix + name, torch.tensor(False))
    if prefix + INSTANCE_NORM in expected and state[prefix + INSTANCE_NORM].any():
        _forget_statistics(expected, prefix)


def _forget_statistics(state: dict[str, Any], prefix: str) -> None:
    """Deletes the running statistics under `prefix` from a state dict: instance normalisation has none."""
    for name in _statistics(state, prefix):
        del state[name]


def _statistics(state: dict[str, Any], prefix: str) -> list[str]:
    return [name for name in state if name.startswith(prefix) and name.rpartition(".")[2] in STATISTICS]


def _follow(encoder: Any, state: dict[str, Any], prefix: str, *others: Any) -> None:
    *_, errors = others
    own = encoder.get_buffer(INSTANCE_NORM)
    theirs = state.setdefault(prefix + INSTANCE_NORM, own & (not _statistics(state, prefix)))
    fixed = state.setdefault(prefix + FIXED_STATISTICS, encoder.get_buffer(FIXED_STATISTICS))
    if theirs.any():
        _forget_statistics(state, prefix)
        use_normalisation(encoder, "instance")
    elif own:
        errors.append(f"these weights are of batch normalisation: give --normalisation {'fixed' if fixed else 'batch'}")
    elif fixed.any():
        use_normalisation(encoder, "fixed")
