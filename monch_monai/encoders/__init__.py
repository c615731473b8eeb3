"""Image and text encoders behind one interface, and their published weights."""

from monch_monai.encoders.adapters import add_adapters, merge_adapters
from monch_monai.encoders.catalogue import DEFAULT_ENCODER, ENCODERS
from monch_monai.encoders.clip_resnet import ClipResNet, ClipResNet50
from monch_monai.encoders.efficientnet_lite import EfficientNetLite
from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.normalisation import NORMALISATIONS, use_normalisation
from monch_monai.encoders.origin import RANDOM, Origin
from monch_monai.encoders.publication import Format, Publication, PublishedStart, formats
from monch_monai.encoders.sam import Sam, Sam2
from monch_monai.encoders.sentence import SentenceText
from monch_monai.encoders.text import ClipText, ConchText, TextEncoder
from monch_monai.encoders.vit import VisionTransformer, clip_vit, conch, plip, uni
from monch_monai.encoders.weights import (
    TEXT_ENCODERS,
    load_published,
    load_start,
    load_text_encoder,
    starting_learning_rate,
)

__all__ = [
    "DEFAULT_ENCODER",
    "ENCODERS",
    "NORMALISATIONS",
    "RANDOM",
    "TEXT_ENCODERS",
    "ClipResNet",
    "ClipResNet50",
    "ClipText",
    "ConchText",
    "EfficientNetLite",
    "Format",
    "ImageEncoder",
    "Origin",
    "Publication",
    "PublishedStart",
    "Sam",
    "Sam2",
    "SentenceText",
    "TextEncoder",
    "VisionTransformer",
    "add_adapters",
    "clip_vit",
    "conch",
    "formats",
    "load_published",
    "load_start",
    "load_text_encoder",
    "merge_adapters",
    "plip",
    "starting_learning_rate",
    "uni",
    "use_normalisation",
]
