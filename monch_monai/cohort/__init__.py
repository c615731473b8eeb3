"""A cohort of slides, each from its file to a folder of results: segmented, resumed, written, summed up."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
