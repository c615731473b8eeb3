"""The classes of nuclei, with their names, colours and descriptions, and what a dataset's labels say of them."""

from monch_monai.class_table.class_table import ClassTable, Color, NucleusClass
from monch_monai.class_table.label_sets import IGNORE_INDEX, LabelSets
from monch_monai.class_table.table_file import EARLIER, PANNUKE, find_class_table, parse_class_table, read_class_table
from monch_monai.class_table.vocabulary import Vocabulary, combined

__all__ = [
    "EARLIER",
    "IGNORE_INDEX",
    "PANNUKE",
    "ClassTable",
    "Color",
    "LabelSets",
    "NucleusClass",
    "Vocabulary",
    "combined",
    "find_class_table",
    "parse_class_table",
    "read_class_table",
]
