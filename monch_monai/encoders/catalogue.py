"""Image encoders by their names in checkpoints."""

from collections.abc import Callable, Mapping
from functools import partial

from monch_monai.encoders.clip_resnet import ClipResNet
from monch_monai.encoders.efficientnet_lite import EfficientNetLite
from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.sam import Sam, Sam2
from monch_monai.encoders.vit import clip_vit, conch, plip, uni

DEFAULT_ENCODER = "clip_rn50"
"""The paper's, of a network whose config names none."""
ENCODERS: Mapping[str, Callable[[], ImageEncoder]] = {
    **{f"clip_{size.lower()}": partial(ClipResNet, size) for size in ("RN50", "RN50x4", "RN101")},
    **{f"clip_{size.lower().replace('-', '_')}": partial(clip_vit, size) for size in ("ViT-B-16", "ViT-L-14")},
    "plip": plip,
    "plip_224": partial(plip, tile_px=224),
    "conch": conch,
    "uni": uni,
    **{f"sam_{size}": partial(Sam, size) for size in ("b", "l", "h")},
    **{f"sam2_{size}": partial(Sam2, size) for size in ("tiny", "small", "base_plus", "large")},
    **{f"efficientnet_lite{size}": partial(EfficientNetLite, size) for size in (0, 2)},
}
"""Each with random weights; those of the overlays in `bundle/configs/encoders/`, and CLIP RN50."""
