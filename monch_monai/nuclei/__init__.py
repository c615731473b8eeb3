"""From a class map to single nuclei: instances, outlines and files of them."""

import lazy_loader

from monch_monai.nuclei.outlines import outlines as outlines  # not lazily: these have the names of their modules
from monch_monai.nuclei.rasterise import rasterise as rasterise

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
