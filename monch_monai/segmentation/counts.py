"""Numbers of nuclei by class: counts, densities and shares."""

from collections.abc import Sequence
from typing import Any

from monch_monai.class_table import ClassTable


def counts_by_class(nuclei: Sequence[int], class_table: ClassTable, area_mm2: float) -> dict[str, Any]:
    """Counts, densities per mm² and shares of all nuclei, by class; None where the divisor is 0.

    Args:
        nuclei: number of each class `[T - 1]`, without the background.
        class_table: T classes.
        area_mm2: of the image, or of a slide's tissue.

    Returns:
        `nuclei`, `per_mm2` and `shares`, dictionaries by name of class, and `nuclei_total` and `per_mm2_total`.
    """
    by_class = {c.name: int(count) for c, count in zip(class_table.nuclei, nuclei, strict=True)}
    total = sum(by_class.values())
    return {
        "nuclei": by_class,
        "nuclei_total": total,
        "per_mm2": {name: ratio(count, area_mm2) for name, count in by_class.items()},
        "per_mm2_total": ratio(total, area_mm2),
        "shares": {name: ratio(count, total) for name, count in by_class.items()},
    }


def ratio(part: float | None, whole: float | None) -> float | None:
    """A quotient to four decimals; None where a part is None or the divisor is 0."""
    return round(part / whole, 4) if whole and part is not None else None
