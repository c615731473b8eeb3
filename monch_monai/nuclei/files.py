"""Nuclei on disk: an instance map and QuPath's GeoJSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray

from monch_monai.classes import CLASSES
from monch_monai.files import write_atomically, write_text_atomically
from monch_monai.nuclei.outlines import outlines
from monch_monai.nuclei.watershed import Nuclei


def write_instance_map(path: str | Path, instance_map: NDArray[np.integer]) -> None:
    """Writes ids `[H, W]` to a TIFF of 16 bits, of 32 where an id is above 65535; never of 8, which would wrap. Atomic.

    Raises:
        ValueError: an id is negative.
    """
    if instance_map.min(initial=0) < 0:
        raise ValueError(f"instance map holds {int(instance_map.min())}; ids are 0 and above")
    dtype = np.uint16 if instance_map.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    write_atomically(path, lambda part: tifffile.imwrite(part, instance_map.astype(dtype), compression="zlib"))


def write_geojson(path: str | Path, nuclei: Nuclei) -> None:
    """Writes the nuclei as a GeoJSON FeatureCollection that QuPath 0.4 and newer imports. Atomic.

    Each nucleus is a detection: a polygon in px of the image, its class with colour, and as measurements its id in the
    instance map, its mean probability and its area in µm². No nuclei make an empty collection.
    """
    collection = {"type": "FeatureCollection", "features": features(nuclei)}
    write_text_atomically(path, json.dumps(collection, separators=(",", ":")) + "\n")


def features(nuclei: Nuclei) -> list[dict[str, Any]]:
    """One GeoJSON Feature a nucleus, in QuPath's schema (its `PathObjectTypeAdapters`)."""
    areas = np.bincount(nuclei.instance_map.ravel(), minlength=1)[1:] * nuclei.mpp**2
    return [
        feature(
            polygon,
            c,
            {
                "Nucleus id": i + 1,
                "Mean probability": round(float(nuclei.probs[i, c - 1]), 4),
                "Area µm^2": round(float(areas[i]), 4),
            },
        )
        for i, (polygon, c) in enumerate(zip(outlines(nuclei.instance_map), nuclei.classes.tolist(), strict=True))
    ]


def feature(polygon: shapely.Polygon, class_index: int, measurements: dict[str, float]) -> dict[str, Any]:
    """A nucleus as a GeoJSON Feature in QuPath's schema: a detection of a class, with its colour."""
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": _rings(polygon)},
        "properties": {
            "objectType": "detection",
            "classification": classification(class_index),
            "measurements": measurements,
        },
    }


def classification(class_index: int) -> dict[str, Any]:
    """Name and colour of a class, in QuPath's schema."""
    return {"name": CLASSES[class_index].name, "color": list(CLASSES[class_index].color)}


def _rings(polygon: shapely.Polygon) -> list[list[list[float]]]:
    rings = [polygon.exterior, *polygon.interiors]
    return [[[_plain(x), _plain(y)] for x, y in ring.coords] for ring in rings]


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value
