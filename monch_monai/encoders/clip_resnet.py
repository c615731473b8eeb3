"""CLIP's ResNet image encoder."""

from open_clip.model import CLIP
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from monch_monai.encoders.image import ImageEncoder


class ClipResNet50(ImageEncoder):
    """The stages of CLIP's RN50 up to stride 16 (Radford et al., 2021; built by open_clip).

    The last stage and the attention pooling, which MONCH does not use, are left out. Input is normalised by CLIP's
    mean and standard deviation of values in [0, 1].
    """

    name = "clip_rn50"
    strides = (4, 8, 16)
    channels = (256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        self.trunk = ModifiedResNet(layers=[3, 4, 6, 3], output_dim=1024, heads=32)
        del self.trunk.layer4, self.trunk.attnpool

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[B, 3, H, W]` to `[B, 256, H/4, W/4]`, `[B, 512, H/8, W/8]`, `[B, 1024, H/16, W/16]`."""
        stride_4 = self.trunk.layer1(self.trunk.stem(image))
        stride_8 = self.trunk.layer2(stride_4)
        return stride_4, stride_8, self.trunk.layer3(stride_8)

    def load_clip(self, clip: CLIP) -> None:
        """Takes over the weights of the image tower of `clip`, an RN50."""
        unused = ("layer4.", "attnpool.")
        state = {name: value for name, value in clip.visual.state_dict().items() if not name.startswith(unused)}
        self.trunk.load_state_dict(state)
