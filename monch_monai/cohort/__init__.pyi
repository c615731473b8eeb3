from .cohort import Cohort, Outcome
from .ray_engine import RayEngine, engine
from .results import wanted_results
from .segmenter import SlideSegmenter
from .slide_file import fingerprint, stem
from .slide_search import find_slides

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
