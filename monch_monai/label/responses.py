"""Segmented nuclei in the formats that MONAI Label's clients read."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json

from monch_monai.data.images import write_picture
from monch_monai.label.scale import Scale
from monch_monai.label.segmenter import Segmented
from monch_monai.nuclei import write_instance_map
from monch_monai.segmentation import polygons_of
from monch_monai.settings import word

OUTLINES = ("asap", "dsa", "json")
MASKS = ("classes", "instances")


def outline_response(
    found: Sequence[Segmented], output: str, model: str, scale: Scale | None = None
) -> tuple[str | None, dict[str, Any]]:
    """File of outlines (ASAP XML for `asap`, which QuPath reads, DSA JSON for `dsa`, none for `json`), and the same as
    MONAI Label's JSON: an annotation for each part that was asked for.

    Each nucleus is one closed contour, its outer one, in px of level 0. The description states the scale.
    """
    x, y, w, h = found[0].part if len(found) == 1 else (0, 0, 0, 0)
    description = "nuclei by class" + ("" if scale is None else f", segmented at {scale}")
    response = {
        "name": f"MONCH nuclei, {x} {y} {w} {h}",
        "description": description,  # MONAI Label writes both into XML and JSON as they are
        "model": model,
        "location": [x, y],
        "size": [w, h],
        "annotations": [{"annotation": _annotation(each)} for each in found],
    }
    file = None
    if output == "asap":
        escaped = [{"annotation": _annotation(each, escape)} for each in found]
        file, _ = create_asap_annotations_xml({**response, "annotations": escaped}, "WARNING")
    elif output == "dsa":
        file, _ = create_dsa_annotations_json(response, "WARNING")
    return file, response


def _annotation(found: Segmented, written: Callable[[str], str] = str) -> dict[str, Any]:
    """MONAI Label's record of a part; `written` turns the name of a class into the text that stands in the file."""
    by_class: dict[str, list[list[list[float]]]] = {c.name: [] for c in found.class_table.nuclei}
    for name, polygon in zip(found.table["class_name"].to_pylist(), polygons_of(found.table), strict=True):
        by_class[name].append([[_number(v) for v in point] for point in polygon.exterior.coords[:-1]])
    return {
        "elements": [{"label": written(name), "contours": contours} for name, contours in by_class.items() if contours],
        "labels": {written(c.name): list(c.color) for c in found.class_table.nuclei},
    }


def mask_response(found: Segmented, kind: str) -> tuple[str, dict[str, Any]]:
    """File of a mask of the part that was asked for, and where that lies: class map as PNG, instance map as TIFF.

    Raises:
        InputError: there is no such kind, or the part is too large.
    """
    suffix = ".png" if word("mask", kind, MASKS) == "classes" else ".tif"
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as file:
        path = Path(file.name)
    if kind == "classes":
        write_picture(path, np.ascontiguousarray(found.class_map()))
    else:
        write_instance_map(path, found.instance_map())
    x, y, w, h = found.part
    return str(path), {"location": [x, y], "size": [w, h], "nuclei": found.table.num_rows}


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 2)
