"""From pixels to whole nuclei: regions of a slide or image, what finds nuclei in them, and the pipeline over many."""

from monch_monai.segmentation.counts import counts_by_class, ratio
from monch_monai.segmentation.features import Features
from monch_monai.segmentation.finder import NucleusFinder
from monch_monai.segmentation.found_nuclei import FoundNuclei
from monch_monai.segmentation.given_nuclei import GivenNuclei, nucleus_finder
from monch_monai.segmentation.image import (
    ImageNuclei,
    SegmentedRegion,
    find_nuclei,
    part_regions,
    segment_part,
    segment_regions,
)
from monch_monai.segmentation.neighbours import Neighbourhood
from monch_monai.segmentation.nuclei_table import SCHEMA, named, polygons_of
from monch_monai.segmentation.pipeline import Pipeline, RegionStore, Seconds, Workers
from monch_monai.segmentation.plan import Plan
from monch_monai.segmentation.quantities import Quantity, basic_quantities, feature_quantities
from monch_monai.segmentation.regions import REGION, Region, margin_px, regions

__all__ = [
    "REGION",
    "SCHEMA",
    "Features",
    "FoundNuclei",
    "GivenNuclei",
    "ImageNuclei",
    "Neighbourhood",
    "NucleusFinder",
    "Pipeline",
    "Plan",
    "Quantity",
    "Region",
    "RegionStore",
    "Seconds",
    "SegmentedRegion",
    "Workers",
    "basic_quantities",
    "counts_by_class",
    "feature_quantities",
    "find_nuclei",
    "margin_px",
    "named",
    "nucleus_finder",
    "part_regions",
    "polygons_of",
    "ratio",
    "regions",
    "segment_part",
    "segment_regions",
]  # fmt: skip
