"""PanNuke: 19 tissues, 5 nucleus classes, 3 folds (Gamper et al., 2020)."""

from monch_monai.datasets.pannuke.examination import examine_source
from monch_monai.datasets.pannuke.prepare import download_pannuke, prepare_pannuke

__all__ = ["download_pannuke", "examine_source", "prepare_pannuke"]
