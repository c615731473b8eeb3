"""The text-conditioned head: kernels made of words."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.class_table.class_table import MOST_CLASSES
from monch_monai.networks.blocks import conv_norm_act


class TextHead(nn.Module):
    """One map per class, by a 3x3 convolution whose kernels are made from the class's text feature, Eq. (8).

    A linear layer turns a text feature into a 3x3 kernel and a bias, as the projector of CRIS does. All classes share
    the visual map, so the reshape of Eq. (8) with its grouped convolution is one convolution with T output channels.

    Deviation: where the image encoder has maps finer than the middle one, `G_v` adds them on its way up (as a U-Net
    does), so that outlines are sharp; the paper does not state what `G_v` receives.

    Deviation: where asked for, one kernel more, of no words, makes a map of how deep a pixel lies in its nucleus.

    Args:
        channels: C of the merged map.
        skip_channels: channels of the encoder's finer maps, finest first, each half the stride of the next.
        text_dim: D of the text features.
        head_channels: of the visual map that the kernels meet.
        distance: whether the distance map follows those of the classes.

    `prior` holds a logit for each class that the kernels' biases start from, filled up with 0 to `MOST_CLASSES`.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: Sequence[int],
        text_dim: int,
        head_channels: int,
        distance: bool = False,
    ) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, head_channels, 1)
        self.skips = nn.ModuleList(nn.Conv2d(c, head_channels, 1) for c in skip_channels)
        self.visual = nn.ModuleList(conv_norm_act(head_channels, head_channels) for _ in range(len(skip_channels) + 1))
        self.use_text_dim(text_dim)
        self.distance = nn.Conv2d(head_channels, 1, 3, padding=1) if distance else None
        self.register_buffer("prior", torch.zeros(MOST_CLASSES))
        self.prior: Tensor
        self.folded: nn.Conv2d | None = None

    def use_text_dim(self, text_dim: int) -> None:
        """Makes the layer that turns text into kernels anew, for features of `text_dim` dimensions."""
        head_channels = self.enter.out_channels
        self.text = nn.Linear(text_dim, head_channels * 9 + 1)
        # A step of Adam moves a kernel by the learning rate times the sum of |text|, nearly sqrt(D) for a unit vector:
        # 26 times what it moves an ordinary weight by, and logits run away. Scaled by D^(-1/4) it is 5 times, which
        # learned faster than both 26 and 1.
        self.text_scale = text_dim**-0.25
        nn.init.normal_(self.text.weight, std=(head_channels * 9) ** -0.5 / self.text_scale)
        nn.init.zeros_(self.text.bias)

    def forward(self, merged: Tensor, skips: Sequence[Tensor], text: Tensor) -> Tensor:
        """Logits `[B, T, h, w]` of `merged [B, C, H, W]` and class features `text [T, D]`, at the finest map's size.

        With a distance map they are `[B, T + 1, h, w]`.
        `skips` are the encoder's finer maps, finest first; one of the size of `merged` is added before a step up.
        """
        x = self.enter(merged)
        *steps, last = self.visual
        for skip, project, visual in zip(reversed(skips), reversed(self.skips), reversed(steps), strict=True):
            if x.shape[-2:] != skip.shape[-2:]:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = visual(x + project(skip))
        x = last(x)
        if self.folded is not None:
            logits: Tensor = self.folded(x)
            return logits
        weights, bias = self._all_kernels(text)
        return F.conv2d(x, weights.to(x.dtype), bias.to(x.dtype), padding=1)

    def kernels(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """The convolution that class features `[T, D]` make: weights `[T, c, 3, 3]`, biases `[T]`."""
        made = self.text(text) * self.text_scale
        return made[:, :-1].unflatten(1, (-1, 3, 3)), made[:, -1] + self.prior[: len(made)]

    def _all_kernels(self, text: Tensor) -> tuple[Tensor, Tensor]:
        weights, bias = self.kernels(text)
        if self.distance is None:
            return weights, bias
        return torch.cat([weights, self.distance.weight]), torch.cat([bias, self.distance.bias])  # type: ignore[list-item]

    @torch.no_grad()
    def fold(self, text: Tensor) -> None:
        """Keeps the convolution that class features `[T, D]` make, in place of what makes it: for inference alone."""
        weights, bias = self._all_kernels(text)
        maps, channels = weights.shape[:2]
        self.folded = nn.Conv2d(channels, maps, 3, padding=1, device=weights.device, dtype=weights.dtype)
        self.folded.weight.copy_(weights)
        self.folded.bias = nn.Parameter(bias)
        del self.text, self.prior, self.distance
