from .distance import NormalisedDistanced, normalised_distance
from .files import write_instance_map
from .outlines import outlines
from .rasterise import covered, rasterise
from .watershed import Nuclei, WatershedNuclei

__all__ = [
    "NormalisedDistanced", "Nuclei", "WatershedNuclei", "covered", "normalised_distance", "outlines", "rasterise",
    "write_instance_map",
]  # fmt: skip
