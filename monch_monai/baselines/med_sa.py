"""Med-SA (Wu et al., 2023): SAM with adapters in every block and a mask for each class; network and loss.

From its description; no code of its authors' is used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.baselines.sam_decoder import AdaptedSam
from monch_monai.class_table import PANNUKE, ClassTable, LabelSets
from monch_monai.losses import one_hot, several_of

LEAST_MASKS = 4
"""SAM's own number of masks."""
MLP_SHARE = 0.5
"""Of the adapter beside the MLP in the block's output."""


class MedSa(AdaptedSam):
    """Medical SAM Adapter (Wu et al., arXiv:2304.12620): SAM, its encoder frozen but for two adapters a block.

    With ViT-B and five classes of nuclei 7,100,928 parameters of adapters and 4,198,661 of the decoder are trained.

    Deviation: there is no prompt. The authors' program takes a click drawn from the true mask, at test too; the
    paper's prompt-conditioned adapter is not in it either. Relative positions in the encoder's attention are SAM's,
    which that program leaves at zero. The loss is of maps at the tile's size, not at a quarter of `image_size`.
    Published facts do not state how adapters start: here as PyTorch's layers do. `baselines/med_sa.json` keeps the
    project's tiles, augmentation, batch and epochs beside the published optimiser and rate, which were chosen for 100
    epochs without augmentation.

    Args:
        class_table: T classes, background first.
        size: of SAM: b, l or h.
        image_size: longer side of what the encoder sees, px.
        sizes: of the encoder's architecture, where they are not the model's.

    Raises:
        InputError: `size` is none of the three, or `image_size` no multiple of 16.
    """

    def __init__(
        self, class_table: ClassTable = PANNUKE, size: str = "b", image_size: int = 1024, **sizes: Any
    ) -> None:
        nuclei = len(class_table) - 1
        super().__init__(class_table, size, image_size, max(LEAST_MASKS, nuclei), **sizes)
        self.nuclei = nuclei
        self.decoder.prompt.requires_grad_(False)
        blocks = self.encoder.trunk.blocks
        self.adapters = nn.ModuleList(BlockAdapters(self.encoder.trunk.embed_dim) for _ in blocks)
        for block, adapters in zip(blocks, self.adapters, strict=True):
            block.attn.register_forward_hook(adapters.after_attention)
            block.mlp.register_forward_hook(adapters.beside_mlp)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T, H, W]` of images `[B, 3, H, W]`, normalised by SAM's mean and standard deviation.

        The background's is the negative of the largest of the others, which are each of a sigmoid: a pixel is
        background where none of them exceeds one half.
        """
        nuclei, others = self.masks(image).split([self.nuclei, max(0, LEAST_MASKS - self.nuclei)], dim=1)
        if self.training and others.shape[1]:
            nuclei = nuclei + 0 * others.sum()  # as with the IoU head
        return torch.cat([-nuclei.amax(dim=1, keepdim=True), nuclei], dim=1)


class BlockAdapters(nn.Module):
    """The two adapters of a block, as hooks of its attention and its MLP.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention, self.mlp = (
            nn.Sequential(nn.Linear(channels, channels // 4), nn.GELU(), nn.Linear(channels // 4, channels))
            for _ in range(2)
        )

    def after_attention(self, attention: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The attention's output `[..., C]`, adapted with a residual."""
        adapted: Tensor = output + self.attention(output)
        return adapted

    def beside_mlp(self, mlp: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The MLP's output `[..., C]` plus half of what the adapter makes of the MLP's own input."""
        adapted: Tensor = output + MLP_SHARE * self.mlp(inputs[0])
        return adapted


class MedSaLoss(nn.Module):
    """Binary cross-entropy of each nucleus class's map, in which a class's own pixels weigh twice.

    Pixels of 255 do not count; where the truth is one of several classes, these classes' maps do not count.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
    """

    def __init__(self, labels: LabelSets | None = None) -> None:
        super().__init__()
        self.several = several_of(labels)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]`.

        Raises:
            ValueError: the sizes differ, or `target` holds a value that is neither a label nor 255.
        """
        truth, counts = one_hot(target, logits, self.several)
        known = counts[:, None].repeat(1, logits.shape[1], 1, 1)
        for value, members in self.several.items():
            known[:, members] &= target.as_subclass(Tensor) != value
        weights = known * (1 + truth)
        loss = F.binary_cross_entropy_with_logits(logits[:, 1:], truth[:, 1:], weights[:, 1:], reduction="sum")
        return loss / known[:, 1:].sum().clamp(min=1)
