"""A text encoder whose features follow the words: sentences that share words are alike."""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from monch_monai.encoders import Origin
from tests.fakes.network import TEXT_DIM


class BagOfWords:
    """The sum of a random vector a word."""

    name = "bag"

    def __init__(self, dim: int = TEXT_DIM) -> None:
        self.dim = dim
        self.origin = Origin("file", "bag.pt", sha256="ab" * 32)

    def encode(self, sentences: Sequence[str]) -> Tensor:
        return F.normalize(
            torch.stack([sum(_vector(word, self.dim) for word in s.lower().split()) for s in sentences]), dim=-1
        )


def _vector(word: str, dim: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return torch.randn(dim, generator=torch.Generator().manual_seed(seed))
