"""A network small enough to test on two cores."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monch_monai.encoders import ImageEncoder, Origin
from monch_monai.networks import Monch

TEXT_DIM = 24


class SmallEncoder(ImageEncoder):
    """Three strided convolutions, with the strides of the real encoder."""

    name = "small"
    strides = (4, 8, 16)
    channels = (8, 12, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stage_4 = nn.Conv2d(3, 8, 4, stride=4)
        self.stage_8 = nn.Conv2d(8, 12, 2, stride=2)
        self.stage_16 = nn.Conv2d(12, 16, 2, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        stride_4 = self.stage_4(image).relu()
        stride_8 = self.stage_8(stride_4).relu()
        return stride_4, stride_8, self.stage_16(stride_8)

    def layers(self) -> dict[str, int]:
        stages = ["stage_4", "stage_8", "stage_16"]
        return {name: stages.index(name.partition(".")[0]) for name, _ in self.named_parameters()}


class SmallText:
    """Unit vectors drawn from a seed, and a record of the sentences."""

    def __init__(self, dim: int = TEXT_DIM, seed: int = 1) -> None:
        self.name, self.origin, self.dim, self.seed = "small_text", Origin(), dim, seed
        self.sentences: list[str] = []

    def encode(self, sentences: Sequence[str]) -> Tensor:
        self.sentences = list(sentences)
        drawn = torch.randn(len(sentences), self.dim, generator=torch.Generator().manual_seed(self.seed))
        return F.normalize(drawn, dim=-1)


def small_monch(seed: int = 0, **settings) -> Monch:
    torch.manual_seed(seed)
    size = {"channels": 32, "head_channels": 16, "num_heads": 4, "text_dim": TEXT_DIM}
    return Monch(SmallEncoder(), **(size | settings))


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def frozen_monch() -> Monch:
    """A network whose batch normalisation stays as it is in training, so that a step does not depend on who sees what.

    For configs, by its name.
    """
    network = small_monch()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module
    return network
