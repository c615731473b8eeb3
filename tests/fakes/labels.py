"""Labels for tests: those of a dataset whose labels are PanNuke's classes, and some that stand for several."""

from monch_monai.class_table import PANNUKE, LabelSets

PLAIN = LabelSets(PANNUKE)
SEVERAL = LabelSets(PANNUKE, ((1, 5), (1, 2, 3, 4, 5)))
"""Beside PanNuke's classes 6, neoplastic or epithelial, and 7, any nucleus."""
