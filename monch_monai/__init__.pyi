from .model import Model, Segmented, load, segment

__version__: str
__all__ = ["Model", "Segmented", "load", "segment"]
