"""From a class map to single nuclei: instances, outlines and files of them."""

from monch_monai.nuclei.distance import NormalisedDistanced, normalised_distance
from monch_monai.nuclei.files import write_instance_map
from monch_monai.nuclei.outlines import outlines
from monch_monai.nuclei.rasterise import covered, rasterise
from monch_monai.nuclei.watershed import Nuclei, WatershedNuclei

__all__ = [
    "NormalisedDistanced", "Nuclei", "WatershedNuclei", "covered", "normalised_distance", "outlines", "rasterise",
    "write_instance_map",
]  # fmt: skip
