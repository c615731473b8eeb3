"""From a class map to single nuclei: instances, outlines and files of them."""

from monch_monai.nuclei.files import write_geojson, write_instance_map
from monch_monai.nuclei.outlines import outlines
from monch_monai.nuclei.watershed import Nuclei, WatershedNuclei

__all__ = ["Nuclei", "WatershedNuclei", "outlines", "write_geojson", "write_instance_map"]
