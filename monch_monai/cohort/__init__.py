"""A cohort of slides, each from its file to a folder of results: segmented, resumed, written, summed up."""

from monch_monai.cohort.cohort import Cohort, Outcome
from monch_monai.cohort.ray_engine import RayEngine, engine
from monch_monai.cohort.results import wanted_results
from monch_monai.cohort.segmenter import SlideSegmenter
from monch_monai.cohort.slide_file import fingerprint, stem
from monch_monai.cohort.slide_search import find_slides

__all__ = [
    "Cohort",
    "Outcome",
    "RayEngine",
    "SlideSegmenter",
    "engine",
    "find_slides",
    "fingerprint",
    "stem",
    "wanted_results",
]
