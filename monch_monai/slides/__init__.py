"""Slides: what a slide is, the formats it comes in, its pixels at the working resolution, and its tissue.

An image in memory is a slide of one level.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
