"""The numbers that files state of a nucleus: column, meaning, unit and code of each."""

from typing import NamedTuple

from monch_monai.class_table import ClassTable

RADIUS_UM = 50
"""Radius within which neighbours are counted, µm."""


class Quantity(NamedTuple):
    """A number of each nucleus.

    Attributes:
        column: in tables.
        meaning: in words.
        unit: by UCUM (the Unified Code for Units of Measure); `1` where it has none.
        sct: its SNOMED CT code in DICOM (PS3.16, CID 7470 and 8136); empty where those have none.
    """

    column: str
    meaning: str
    unit: str = "1"
    sct: str = ""

    @property
    def label(self) -> str:
        """Meaning and unit, as viewers show them."""
        return self.meaning if self.unit == "1" else f"{self.meaning} {self.unit.replace('um', 'µm')}"


SHAPE = (
    Quantity("perimeter_um", "Perimeter", "um", "131191004"),
    Quantity("equivalent_diameter_um", "Diameter of the circle of its area", "um"),
    Quantity("major_axis_um", "Major axis of the ellipse of its moments", "um", "131187009"),
    Quantity("minor_axis_um", "Minor axis of the ellipse of its moments", "um", "131188004"),
    Quantity("orientation_rad", "Angle of the major axis to the vertical", "rad"),
    Quantity("eccentricity", "Eccentricity"),
    Quantity("solidity", "Solidity"),
    Quantity("extent", "Extent"),
)
STAIN = tuple(Quantity(f"haematoxylin_{name}", f"Haematoxylin, {name}") for name in ("mean", "std", "min", "max"))


def basic_quantities(class_table: ClassTable) -> list[Quantity]:
    """The numbers of every nucleus, in the order of the tables."""
    probs = [Quantity(f"prob_{c.name}", f"Probability of {c.name}") for c in class_table.nuclei]
    return [
        Quantity("area_um2", "Area", "um2", "42798000"),
        Quantity("circularity", "Circularity"),
        Quantity("mean_prob", "Mean probability"),
        *probs,
    ]


def feature_quantities(class_table: ClassTable) -> list[Quantity]:
    """The numbers that `--features true` adds."""
    names = [c.name for c in class_table.nuclei]
    near = [Quantity("nearest_um", "Distance to the nearest nucleus", "um")]
    near += [Quantity(f"nearest_{name}_um", f"Distance to the nearest {name}", "um") for name in names]
    count = f"within {RADIUS_UM} µm"
    return [*SHAPE, *STAIN, *near, *(Quantity(f"near_{name}", f"Number of {name} {count}") for name in names)]
