"""Small members of each family of encoders, and files in the formats that weights are published in."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import open_clip
import timm
import torch
from open_clip.model import CLIP
from torch import Tensor

from monch_monai.encoders import (
    ClipResNet,
    ClipText,
    ConchText,
    EfficientNetLite,
    ImageEncoder,
    Sam,
    Sam2,
    clip_vit,
    conch,
    plip,
    uni,
)

PUBLISHED = Path(__file__).resolve().parents[1] / "encoders" / "published"
TOWER = {"width": 32, "heads": 2, "layers": 1}
VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}


def _with_words(encoder: ImageEncoder, text: Callable) -> ImageEncoder:
    encoder.publication = replace(encoder.publication, text=text)
    return encoder


SMALL: dict[str, Callable[[], ImageEncoder]] = {
    "clip_resnet": lambda: _with_words(ClipResNet("RN50", layers=[1, 2, 1, 1], width=8), partial(ClipText, **TOWER)),
    "clip_vit": lambda: _with_words(clip_vit("ViT-L-14", **VIT), partial(ClipText, "ViT-L-14", **TOWER)),
    "plip": lambda: _with_words(plip(**VIT), partial(ClipText, "ViT-B-32", **TOWER)),
    "conch": lambda: _with_words(conch(**VIT), partial(ConchText, **TOWER)),
    "uni": lambda: uni(**VIT),
    "sam": lambda: Sam("b", **VIT, neck_chans=16, global_attn_indexes=(1,)),
    "efficientnet_lite": lambda: EfficientNetLite(0),
    "sam2": lambda: Sam2("tiny", channels=16, embed_dim=16, num_heads=1, stages=(1, 1, 2, 1), global_att_blocks=(3,)),
}
"""One of each family, with few and narrow layers; the smaller ones of patch 14 and 32 among them."""


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a published model, as `scripts/published_names.py` recorded them."""
    folded = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))["tensors"]
    shapes = {}
    for name, shape in folded.items():
        ranges = re.search(r"\[(.*)\]", name)
        for number in _numbers(ranges[1]) if ranges else [None]:
            shapes[name if number is None else name.replace(ranges[0], str(number))] = tuple(shape)
    return shapes


def _numbers(ranges: str) -> list[int]:
    ends = [[int(end) for end in part.split("-")] for part in ranges.split(",")]
    return [number for first, *last in ends for number in range(first, (last or [first])[0] + 1)]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """The same for an encoder of ours by its name, from the package that it is told by."""
    if (PUBLISHED / f"{name}.json").is_file():
        return published_shapes(name)
    models = {"clip_rn50": "RN50", "clip_rn50x4": "RN50x4", "clip_rn101": "RN101"}
    models |= {"clip_vit_b_16": "ViT-B-16", "clip_vit_l_14": "ViT-L-14"}
    with torch.device("meta"):
        if name == "uni":
            model = timm.create_model("vit_large_patch16_224", init_values=1e-5, num_classes=0)
        else:
            model = CLIP(**open_clip.get_model_config(f"{models[name]}-quickgelu"))
    return {n: tuple(v.shape) for n, v in model.state_dict().items()}


def sparse(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Tensors of these shapes that take the room of one number each, on disk too: one drawn value, everywhere."""
    generator = torch.Generator().manual_seed(seed)
    return {name: (0.02 + 0.02 * torch.rand((), generator=generator)).expand(shape) for name, shape in shapes.items()}
