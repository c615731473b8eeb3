"""Labels for tests: those of a dataset whose labels are PanNuke's classes, and some that stand for several."""

from monch_monai.class_table import PANNUKE, ClassTable, LabelSets, NucleusClass

PLAIN = LabelSets(PANNUKE)
SEVERAL = LabelSets(PANNUKE, ((1, 5), (1, 2, 3, 4, 5)))
"""Beside PanNuke's classes 6, neoplastic or epithelial, and 7, any nucleus."""


def some_classes(number: int) -> ClassTable:
    """A table of the background and classes `class 1`, `class 2`, …, `number` in all."""
    names = [f"class {i}" if i else "background" for i in range(number)]
    classes = [
        NucleusClass(i, name, (10 * i, 255 - i, 3 * i), tuple(f"{name}, {w}." for w in "abc"))
        for i, name in enumerate(names)
    ]
    return ClassTable(f"{number} classes", tuple(classes))
