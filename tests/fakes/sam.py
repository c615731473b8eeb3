"""SAM small enough for tests, and published files of it."""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from monch_monai.encoders.weights import wanted_by

SIZES = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1], "neck_chans": 32, "img_size": 64}
"""Of timm's architecture: a block with windows and one without."""


def published(network, number: int = 0, seed: int = 3) -> dict[str, Tensor]:
    """Random tensors for a network's start, under the names of its publication's kind of files of this `number`."""
    start = network.published_start()
    generator = torch.Generator().manual_seed(seed)
    kind = start.publication.formats[number]
    file = {
        source: torch.randn(value.shape, generator=generator) / 5
        for name, value in wanted_by(start.towers).items()
        for source in kind.sources(name)
    }
    return file | {"mask_decoder.mask_tokens.weight": torch.zeros(4, 32)}


def write_published(path: Path, network, number: int = 0, seed: int = 3) -> Path:
    """The same as a safetensors file."""
    safetensors.torch.save_file(published(network, number, seed), path)
    return path
