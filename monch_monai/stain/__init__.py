"""The stain of tissue: its optical density, where it lies, how images are lightened to a reference, and its jitter."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
