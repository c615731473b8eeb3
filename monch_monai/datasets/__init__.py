"""Where prepared datasets come from: published ones, your own, a sample of real tissue, and tiles made by code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
