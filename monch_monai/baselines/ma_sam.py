"""MA-SAM (Chen et al., 2024): SAM with adapters for slices, low-rank changes of attention, maps of full size; its loss.

From its description; no code of its authors' is used.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import Tensor, nn

from monch_monai.baselines.sam_decoder import AdaptedSam
from monch_monai.class_table import PANNUKE, ClassTable, LabelSets
from monch_monai.losses import one_hot, several_of


class MaSam(AdaptedSam):
    """Modality-agnostic SAM (Chen et al., Medical Image Analysis 2024), of one image in place of a stack of slices.

    With ViT-B and six classes 24,818,688 parameters of adapters, 73,728 of FacT and 4,304,654 of the decoder are
    trained, and SAM's no-mask embedding, 256.

    Deviation: an image's three colours are one slice. The authors' program takes an array's last axis for slices, so
    that it sees a colour image as three grey ones. Colours are from 0 to 1 by their 8 bits, not stretched to each
    image's extremes. The loss is of maps at the tile's size, not at `image_size`. Published facts do not state how
    adapters start: here as PyTorch's layers do. `baselines/ma_sam.json` keeps the project's tiles, augmentation, batch
    and epochs beside the published optimiser and rate, and warms up for two epochs in place of 250 steps. The authors
    use ViT-H; at ViT-B trainings with their rate diverged for others.

    Args:
        class_table: T classes, background first.
        size: of SAM: b, l or h.
        image_size: longer side of what the encoder sees, px.
        rank: of FacT.
        hidden: channels within an adapter.
        dropout: of FacT.
        sizes: of the encoder's architecture, where they are not the model's.

    Raises:
        InputError: `size` is none of the three, or `image_size` no multiple of 16.
    """

    def __init__(
        self,
        class_table: ClassTable = PANNUKE,
        size: str = "b",
        image_size: int = 512,
        rank: int = 32,
        hidden: int = 384,
        dropout: float = 0.1,
        **sizes: Any,
    ) -> None:
        super().__init__(class_table, size, image_size, len(class_table), (4, 8, 16, 32), **sizes)
        blocks, channels = self.encoder.trunk.blocks, self.encoder.trunk.embed_dim
        self.fact = Fact(channels, len(blocks), rank, dropout)
        self.adapters = nn.ModuleList(BlockAdapters(channels, hidden) for _ in blocks)
        for number, (block, adapters) in enumerate(zip(blocks, self.adapters, strict=True)):
            block.register_forward_pre_hook(adapters.before_attention)
            block.attn.qkv.register_forward_hook(partial(self.fact.change, number))
            block.norm2.register_forward_pre_hook(adapters.before_mlp)
            block.mlp.register_forward_hook(adapters.after_mlp)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T, H, W]`, of a softmax, of images `[B, 3, H, W]` with values in [0, 1]."""
        return self.masks(image)


class Fact(nn.Module):
    """Factor-tuning (Jie and Deng, AAAI 2023) of queries and values: `U S V` for each block and each of the two.

    `U [C, r]` and `V [r, C]`, which starts at zero, are shared; `S [r, r]` is not. The product is never formed. That
    dropout comes before V is a reading.

    Args:
        channels: C.
        blocks: number of blocks.
        rank: r.
        dropout: before V.
    """

    def __init__(self, channels: int, blocks: int, rank: int, dropout: float) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(channels, rank, bias=False), nn.Linear(rank, channels, bias=False)
        nn.init.zeros_(self.v.weight)
        self.queries, self.values = (
            nn.ModuleList(nn.Linear(rank, rank, bias=False) for _ in range(blocks)) for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)

    def change(self, number: int, qkv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Queries, keys and values `[..., 3C]` of the block `number`, changed; a hook of their layer."""
        query, key, value = output.chunk(3, dim=-1)
        down = self.u(inputs[0])
        of_query, of_value = (self.v(self.dropout(s[number](down))) for s in (self.queries, self.values))
        return torch.cat([query + of_query, key, value + of_value], dim=-1)


class SliceAdapter(nn.Module):
    """An adapter whose middle layer looks at the slices before and after, of which one image has none.

    Args:
        channels: C.
        hidden: channels within.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.down = nn.LayerNorm(channels), nn.Linear(channels, hidden, bias=False)
        self.slices = nn.Conv2d(hidden, hidden, (3, 1), padding=(1, 0))  # slices by tokens
        self.up = nn.Linear(hidden, channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to `tokens [..., C]`, each on its one slice: of the convolution the middle tap acts."""
        down = self.down(self.norm(tokens))
        added: Tensor = self.up(F.gelu(F.linear(down, self.slices.weight[:, :, 1, 0], self.slices.bias)))
        return added


class BlockAdapters(nn.Module):
    """The two adapters of a block, before its attention and before its MLP, as hooks.

    timm's block computes `x + mlp(norm2(x))`. The second adapter changes x itself: hooks change norm2's input, and add
    the same change to the MLP's output.

    Args:
        channels: C.
        hidden: channels within an adapter.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.attention, self.mlp = SliceAdapter(channels, hidden), SliceAdapter(channels, hidden)
        self.added: list[Tensor] = []

    def before_attention(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """The block's input `[..., C]`, adapted."""
        adapted: Tensor = inputs[0] + self.attention(inputs[0])
        return adapted

    def before_mlp(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """The input `[..., C]` of the norm before the MLP, adapted."""
        self.added.append(self.mlp(inputs[0]))
        return inputs[0] + self.added[-1]

    def after_mlp(self, mlp: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The MLP's output `[..., C]` plus what its input was changed by."""
        return output + self.added.pop()


class MaSamLoss(nn.Module):
    """0.2 times cross-entropy plus 0.8 times Dice of the softmax, the background a class as others.

    Dice is MONAI's, over the batch, with squares in the denominator. Pixels of 255 and of several classes do not count.

    Args:
        labels: what the values of class maps stand for; None where each is a class.
    """

    def __init__(self, labels: LabelSets | None = None) -> None:
        super().__init__()
        self.several = several_of(labels)
        self.dice = DiceLoss(squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar, of `logits [B, T, H, W]` against a class map `target [B, 1, H, W]`.

        Raises:
            ValueError: the sizes differ, or `target` holds a value that is neither a label nor 255.
        """
        logits = logits.float()
        truth, _ = one_hot(target, logits, self.several)
        known = truth.sum(dim=1, keepdim=True)
        entropy = -(truth * logits.log_softmax(dim=1)).sum() / known.sum().clamp(min=1)
        dice: Tensor = self.dice(known * logits.softmax(dim=1), truth)
        return 0.2 * entropy + 0.8 * dice
