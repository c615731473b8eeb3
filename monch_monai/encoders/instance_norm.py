"""Instance normalisation in the place of an image encoder's batch normalisation.

Batch normalisation lets a network tell fields by their stain; instance normalisation takes that away, image by image
(Ulyanov et al., 2016; for images of another look than those trained on: IBN-Net, Pan et al., 2018).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from monch_monai.encoders.image import ImageEncoder
from monch_monai.errors import InputError
from monch_monai.ops.choice import is_traced

FLAG = "instance_norm"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class InstanceNorm(nn.InstanceNorm2d):
    """As `torch.nn.InstanceNorm2d`, on the CPU as batch normalisation of one image after another.

    That leaves maps channels-last, as convolutions like them: an encoder's step takes two thirds of the time.
    """

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's own name
        """`[B, C, H, W]` to the same, each channel of each image with mean 0 and variance 1, then scaled and moved."""
        if not input.is_cpu or is_traced() or torch.compiler.is_compiling():
            return super().forward(input)
        images = [F.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps) for x in input.split(1)]
        return torch.cat(images)


def use_instance_norm(encoder: ImageEncoder) -> None:
    """Exchanges an encoder's batch normalisation for instance normalisation, in place; scales and shifts stay.

    Raises:
        InputError: it has no batch normalisation.
    """
    if not hasattr(encoder, FLAG):
        raise InputError(f"{encoder.name} has no batch normalisation to exchange: leave {FLAG} out")
    for parent in list(encoder.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm):
                exchanged = InstanceNorm(norm.num_features, norm.eps, affine=True)
                exchanged.weight, exchanged.bias = norm.weight, norm.bias  # an optimiser may hold them
                setattr(parent, name, exchanged)
    encoder.get_buffer(FLAG).fill_(True)


def follow_checkpoints(encoder: ImageEncoder) -> None:
    """Lets an encoder take on, with the weights that are loaded into it, the normalisation that they were trained with.

    A buffer in its state dict tells which; weights without it are of batch normalisation.
    """
    encoder.register_buffer(FLAG, torch.tensor(False))
    encoder.register_load_state_dict_pre_hook(_follow)  # type: ignore[no-untyped-call]


def forget_statistics(state: dict[str, Any], prefix: str) -> None:
    """Leaves out of a state dict what the batch normalisation under `prefix` has and instance normalisation has not."""
    for name in [name for name in state if name.startswith(prefix) and name.rpartition(".")[2] in STATISTICS]:
        del state[name]


def _follow(encoder: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    if state.setdefault(prefix + FLAG, torch.tensor(False)):
        forget_statistics(state, prefix)
        use_instance_norm(encoder)
