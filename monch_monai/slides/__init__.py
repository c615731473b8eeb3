"""Slides: what a slide is, the formats it comes in, its pixels at the working resolution, and its tissue.

An image in memory is a slide of one level.
"""

from monch_monai.slides.formats import SUFFIXES, is_dicom_folder, open_slide
from monch_monai.slides.lightened import LightenedSlide, tissue_and_lightening
from monch_monai.slides.pixels import grid_of, overview, read_working, tissue_overview
from monch_monai.slides.slide import ImageSlide, Slide
from monch_monai.slides.tissue import Tissue
from monch_monai.slides.working_image import FACTORS, PIXELS, AtImageSized, AtWorkingResolutiond, image_grid

__all__ = [
    "FACTORS", "PIXELS", "SUFFIXES", "AtImageSized", "AtWorkingResolutiond", "ImageSlide", "LightenedSlide", "Slide",
    "Tissue", "grid_of", "image_grid", "is_dicom_folder", "open_slide", "overview", "read_working",
    "tissue_and_lightening", "tissue_overview",
]  # fmt: skip
