"""The five nucleus classes and the nineteen tissues.

Index order is PanNuke's channel order plus one (Gamper et al., 2020), index 0 is background.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NucleusClass:
    """One entry of the class table: index in a class map, name, and colour (red, green, blue, each 0-255)."""

    index: int
    name: str
    color: tuple[int, int, int]


CLASSES = (
    NucleusClass(0, "background", (0, 0, 0)),
    NucleusClass(1, "neoplastic", (255, 0, 0)),
    NucleusClass(2, "inflammatory", (0, 255, 0)),
    NucleusClass(3, "connective", (0, 0, 255)),
    NucleusClass(4, "dead", (255, 255, 0)),
    NucleusClass(5, "epithelial", (0, 255, 255)),
)
NUCLEUS_CLASSES = CLASSES[1:]
IGNORE_INDEX = 255
"""Class-map value of pixels that count neither in the loss nor in a score."""

PIXEL_SHARES = (0.8332, 0.0864, 0.0177, 0.0373, 0.0007, 0.0247)
"""Share of PanNuke's pixels in each class (all three folds)."""

TISSUES = (
    "Adrenal_gland", "Bile-duct", "Bladder", "Breast", "Cervix", "Colon", "Esophagus", "HeadNeck", "Kidney", "Liver",
    "Lung", "Ovarian", "Pancreatic", "Prostate", "Skin", "Stomach", "Testis", "Thyroid", "Uterus",
)  # fmt: skip
"""PanNuke's tissue names, spelled as in its `types.npy`."""
