"""CLIP's ResNet image encoders."""

from functools import partial
from typing import Any

import open_clip
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.normalisation import follow_checkpoints
from monch_monai.encoders.publication import Publication, formats
from monch_monai.encoders.text import ClipText


class ClipResNet(ImageEncoder):
    """The stages of a CLIP ResNet up to stride 16 (Radford et al., 2021; built by open_clip).

    Without the last stage and the attention pooling, which MONCH does not use.

    Args:
        model: RN50, RN50x4 or RN101, open_clip's name of the model.
        sizes: of its image tower, `layers` and `width`, where they are not the model's.
    """

    strides = (2, 4, 8, 16)

    def __init__(self, model: str = "RN50", **sizes: Any) -> None:
        super().__init__()
        config = open_clip.get_model_config(f"{model}-quickgelu")
        vision = config["vision_cfg"] | sizes
        width = vision["width"]
        self.name = f"clip_{model.lower()}"
        self.channels = (width, 4 * width, 8 * width, 16 * width)
        self.publication = openai_clip(model, "open_clip_resnet")
        self.matcher = {"stem": r"^(?:conv|bn)\d", "blocks": r"^layer(\d+)\.(\d+)"}
        self.trunk = ModifiedResNet(vision["layers"], config["embed_dim"], heads=width // 2, width=width)
        del self.trunk.layer4, self.trunk.attnpool
        follow_checkpoints(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to maps of c channels at stride 2, 4c at 4, 8c at 8 and 16c at 16; c = 64 for RN50."""
        trunk = self.trunk
        x = trunk.act1(trunk.bn1(trunk.conv1(image)))
        x = trunk.act2(trunk.bn2(trunk.conv2(x)))
        x = trunk.act3(trunk.bn3(trunk.conv3(x)))
        stride_4 = trunk.layer1(trunk.avgpool(x))
        stride_8 = trunk.layer2(stride_4)
        return x, stride_4, stride_8, trunk.layer3(stride_8)


class ClipResNet50(ClipResNet):
    """CLIP's RN50, the paper's image encoder."""

    def __init__(self) -> None:
        super().__init__("RN50")


def openai_clip(model: str, *kinds: str) -> Publication:
    """OpenAI's weights of a CLIP model, at the address in open_clip's table, in files of some `kinds`."""
    entry = open_clip.get_pretrained_cfg(model, "openai")
    return Publication(
        hub=entry["hf_hub"].strip("/"),
        files=("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        formats=formats(*kinds),
        text=partial(ClipText, model),
        licence="MIT",
        archive_sha256=entry["url"].split("/")[-2],  # of OpenAI's own file, part of its published address
    )
