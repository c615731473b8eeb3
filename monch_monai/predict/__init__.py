"""From pixels to classes, the one way: normalise, run the network over a lattice of tiles, refuse NaN, name classes.

Whole slides, image files, MONAI Label's regions and exported networks all go through this room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
