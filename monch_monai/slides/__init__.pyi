from .formats import SUFFIXES, dicom_files, is_dicom_folder, open_slide
from .lightened import LightenedSlide, tissue_and_lightening
from .pixels import grid_of, overview, read_working, tissue_overview
from .slide import ImageSlide, Slide
from .tissue import Tissue
from .working_image import FACTORS, PIXELS, AtImageSized, AtWorkingResolutiond, image_grid

__all__ = [
    "FACTORS", "PIXELS", "SUFFIXES", "AtImageSized", "AtWorkingResolutiond", "ImageSlide", "LightenedSlide", "Slide",
    "Tissue", "dicom_files", "grid_of", "image_grid", "is_dicom_folder", "open_slide", "overview", "read_working",
    "tissue_and_lightening", "tissue_overview",
]  # fmt: skip
