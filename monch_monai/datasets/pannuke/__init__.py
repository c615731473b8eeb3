"""PanNuke: 19 tissues, 5 nucleus classes, 3 folds (Gamper et al., 2020)."""

from monch_monai.datasets.pannuke.doctor import doctor
from monch_monai.datasets.pannuke.prepare import download_pannuke, prepare_pannuke

__all__ = ["doctor", "download_pannuke", "prepare_pannuke"]
