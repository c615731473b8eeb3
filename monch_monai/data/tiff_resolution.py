"""The resolution that a TIFF file states: in OME-XML, in ImageJ's description, or in its tags."""

import logging
from pathlib import Path
from typing import Any

import tifffile

from monch_monai.geometry import NATIVE, Mpp

UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0, 4: 1000.0, 5: 1.0}
"""µm in TIFF's units of resolution: inch, cm, mm, µm."""
UM_PER_NAME = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3,
    "in": 25_400.0, "inch": 25_400.0, "\\u00B5m": 1.0,
}  # fmt: skip
"""µm in units that OME-XML and ImageJ name; a unit of another kind is no length. ImageJ escapes µ."""

logger = logging.getLogger(__name__)


def resolution(page: tifffile.TiffPage, path: str | Path) -> Mpp | None:
    """µm per pixel of a page, or None where the file states none of a microscope.

    OME-XML comes before the tags, which many writers leave at another resolution; where both state one and differ by
    more than 5 %, a warning names both.
    """
    by_tags, by_ome = _by_tags(page), _by_ome(page)
    if by_ome is None:
        return by_tags
    stated = by_ome[0]
    if stated is not None and by_tags is not None and differ(stated, by_tags):
        problem = f"{path}: its OME-XML states {stated.mean:.4g} µm/px and its tags {by_tags.mean:.4g}"
        logger.warning("%s: OME-XML's is used; where that is wrong, give --mpp", problem)
    return stated


def differ(one: Mpp, other: Mpp) -> bool:
    """Whether two resolutions are more than 5 % apart."""
    return any(abs(a / b - 1) > NATIVE for a, b in ((one.x, other.x), (one.y, other.y)))


def _by_ome(page: tifffile.TiffPage) -> tuple[Mpp | None] | None:
    """What OME-XML states of the image that the page is of, or of its first; None where it states no size."""
    if not page.parent.ome_metadata:
        return None
    try:
        images: Any = tifffile.xml2dict(page.parent.ome_metadata)["OME"]["Image"]
        images = images if isinstance(images, list) else [images]
        pixels = [image["Pixels"] for image in images]
        size = (page.imagewidth, page.imagelength)
        fitting = [one for one in pixels if (int(one["SizeX"]), int(one["SizeY"])) == size]
        attributes = (fitting or pixels)[0]
        x, y = (
            float(attributes[f"PhysicalSize{a}"]) * UM_PER_NAME[attributes.get(f"PhysicalSize{a}Unit", "µm")]
            if f"PhysicalSize{a}" in attributes and attributes.get(f"PhysicalSize{a}Unit", "µm") in UM_PER_NAME
            else None
            for a in "XY"
        )
        states = {"PhysicalSizeX", "PhysicalSizeY"} <= set(attributes)
    except Exception:  # XML of another kind, or broken: tifffile's parser and the file raise whatever they like
        return None
    if not states:
        return None
    return (None if x is None or y is None else Mpp.stated(x, y),)


def _by_tags(page: tifffile.TiffPage) -> Mpp | None:
    """What the tags state; where they have no unit, in the unit that ImageJ's description names."""
    um = UM_PER_UNIT.get(page.tags.valueof("ResolutionUnit", 1))
    if um is None and page.is_imagej:
        um = UM_PER_NAME.get((page.parent.imagej_metadata or {}).get("unit", ""))
    resolutions = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    try:
        x, y = (um * denominator / numerator for numerator, denominator in resolutions)
    except (TypeError, ValueError, ZeroDivisionError):  # a tag is missing, of another kind, or zero
        return None
    return Mpp.stated(x, y)
