"""Nuclei on disk: instance maps, and Features of QuPath's GeoJSON."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray

from monch_monai.class_table import NucleusClass
from monch_monai.files import write_atomically


def write_instance_map(path: str | Path, instance_map: NDArray[np.integer]) -> None:
    """Writes ids `[H, W]` to a TIFF of 16 bits, of 32 where an id is above 65535; never of 8, which would wrap. Atomic.

    Raises:
        ValueError: an id is negative.
    """
    if instance_map.min(initial=0) < 0:
        raise ValueError(f"instance map holds {int(instance_map.min())}; ids are 0 and above")
    dtype = np.uint16 if instance_map.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    write_atomically(path, lambda part: tifffile.imwrite(part, instance_map.astype(dtype), compression="zlib"))


def feature(polygon: shapely.Polygon, c: NucleusClass, measurements: dict[str, float]) -> dict[str, Any]:
    """A nucleus as a GeoJSON Feature in QuPath's schema: a detection of a class, with its colour."""
    rings = [[[_plain(x), _plain(y)] for x, y in ring.coords] for ring in (polygon.exterior, *polygon.interiors)]
    properties = {"objectType": "detection", "classification": classification(c)}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {**properties, "measurements": measurements},
    }


def classification(c: NucleusClass) -> dict[str, Any]:
    """Name and colour of a class, in QuPath's schema."""
    return {"name": c.name, "color": list(c.color)}


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value
