"""Prepared datasets of tiles, picture files, how MONAI reads both, and how training tiles are drawn."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
