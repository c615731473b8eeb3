"""Image and text encoders behind one interface, and their published weights."""

from monch_monai.encoders.clip_resnet import ClipResNet50
from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.text import ClipText
from monch_monai.encoders.weights import Origin, load_clip, starting_learning_rate

__all__ = ["ClipResNet50", "ClipText", "ImageEncoder", "Origin", "load_clip", "starting_learning_rate"]
