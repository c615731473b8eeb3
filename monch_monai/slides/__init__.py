"""Slides: what a slide is, the formats it comes in, its pixels at the working resolution, and its tissue.

An image in memory is a slide of one level.
"""

from monch_monai.slides.formats import SUFFIXES, is_dicom_folder, open_slide
from monch_monai.slides.lightened import LightenedSlide, slide_lightening
from monch_monai.slides.pixels import grid_of, overview, read_working, tissue_overview
from monch_monai.slides.slide import ImageSlide, Slide
from monch_monai.slides.tissue import Tissue, find_tissue
from monch_monai.slides.working_image import AtImageSized, AtWorkingResolutiond, image_grid

__all__ = [
    "SUFFIXES",
    "AtImageSized",
    "AtWorkingResolutiond",
    "ImageSlide",
    "LightenedSlide",
    "Slide",
    "Tissue",
    "find_tissue",
    "grid_of",
    "image_grid",
    "is_dicom_folder",
    "open_slide",
    "overview",
    "read_working",
    "slide_lightening",
    "tissue_overview",
]
