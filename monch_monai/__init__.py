"""MONCH: multi-organ, multi-class nucleus segmentation of H&E histology from an image and words."""

__version__ = "0.3.0"
