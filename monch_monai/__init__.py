"""MONCH: multi-organ, multi-class nucleus segmentation of H&E histology from an image and words.

`load` and `segment` are MONCH in Python (`monch_monai.model`).
"""

import lazy_loader

__version__ = "0.3.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
