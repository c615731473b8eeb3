from .model import Model, load, segment
from .segmented import Segmented

__version__: str
__all__ = ["Model", "Segmented", "load", "segment"]
