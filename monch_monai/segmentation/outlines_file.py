"""Another tool's GeoJSON of nuclei: each outline is kept, split, or left out and counted."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from monch_monai.errors import InputError, one_line

NUCLEI, ANNOTATION = ("detection", "cell"), "annotation"
"""QuPath's types of objects that are nuclei, and the one that can be a nucleus or a region of interest."""


class Outlines(NamedTuple):
    """Outlines of a file, one a nucleus.

    Attributes:
        features: of each, the Feature that outputs keep.
        polygons: `[N]`, polygons and multipolygons, px of level 0.
        typed: `[N]`, whether the file states that it is a nucleus.
        places: `[N]`, place of the outline among those of the file; a MultiPolygon of several nuclei has so many.
        left_out: how many others there are, by the reason.
    """

    features: list[dict[str, Any]]
    polygons: NDArray[np.object_]
    typed: NDArray[np.bool_]
    places: NDArray[np.int64]
    left_out: Counter[str]

    def kept(self, which: NDArray[np.bool_], reason: str) -> "Outlines":
        """Those of `which` `[N]`, the others left out for a reason."""
        features = [feature for feature, keep in zip(self.features, which, strict=True) if keep]
        left = self.left_out + Counter({reason: int((~which).sum())})
        return Outlines(features, self.polygons[which], self.typed[which], self.places[which], left)


def read_outlines(path: Path) -> Outlines:
    """The outlines of a FeatureCollection, a list of Features, or a Feature, plain or gzip.

    - A Feature of QuPath's type `detection` or `cell` is a nucleus, by its `nucleusGeometry` where it has one.
    - One of no type is a nucleus. So are QuPath's annotations, unless the file has detections or cells too. Each
      polygon of their MultiPolygons is a nucleus: CellViT writes all cells of a class as one.
    - Other types, such as `tile`, null geometries, outlines without an area and annotations that are no polygons are
      left out.

    Raises:
        InputError: the file is no GeoJSON, a Feature that would be a nucleus is no polygon, or Features are there but
            no nucleus is.
    """
    features = _features(path)
    kinds = [_kind(feature) for feature in features]
    beside = any(kind in NUCLEI for kind in kinds)
    found: list[tuple[dict[str, Any], Any, bool, int]] = []
    left: Counter[str] = Counter()
    place = 0
    for number, (feature, kind) in enumerate(zip(features, kinds, strict=True), start=1):
        geometry = (feature.get("nucleusGeometry") if kind == "cell" else None) or feature.get("geometry")
        parts = _parts(geometry, kind, f"nuclei {path}: Feature {number}")
        if kind not in (*NUCLEI, ANNOTATION, "") or (kind == ANNOTATION and (beside or parts is None)):
            left[f"of the type {kind}"] += 1
            parts = []
        elif geometry is None:
            left["without a geometry"] += 1
            parts = []
        for part in parts or ():
            outline = _with_area(part)
            if outline is None:
                left["without an area"] += 1
            else:
                found.append(
                    (feature if len(parts or ()) == 1 else _piece(feature, part), outline, kind in NUCLEI, place)
                )
            place += 1
        place += not parts
    if features and not found:
        raise InputError(f"nuclei {path} holds no nucleus ({listed(left)}): export nuclei as polygons")
    polygons = np.empty(len(found), dtype=object)
    polygons[:] = [each[1] for each in found]
    typed, places = (np.array([each[i] for each in found]) for i in (2, 3))
    return Outlines([each[0] for each in found], polygons, typed.astype(bool), places.astype(np.int64), left)


def listed(left_out: Counter[str]) -> str:
    """What was left out, in words."""
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)


def moved(feature: dict[str, Any], x: float, y: float) -> dict[str, Any]:
    """A Feature whose outlines begin `x` and `y` px further to the right and down."""

    def shift(geometry: dict[str, Any]) -> dict[str, Any]:
        return {**geometry, "coordinates": _shifted(geometry["coordinates"], x, y)}

    names = [name for name in ("geometry", "nucleusGeometry") if feature.get(name)]
    return {**feature, **{name: shift(feature[name]) for name in names}}


def _shifted(coordinates: Any, x: float, y: float) -> Any:
    if coordinates and not isinstance(coordinates[0], list | tuple):
        return [coordinates[0] + x, coordinates[1] + y, *coordinates[2:]]
    return [_shifted(part, x, y) for part in coordinates]


def _piece(feature: dict[str, Any], polygon: Any) -> dict[str, Any]:
    """A Feature of one polygon of several: a detection without the id, which stays that of the whole."""
    properties = feature.get("properties")
    properties = {**(properties if isinstance(properties, dict) else {}), "objectType": "detection"}
    rest = {name: value for name, value in feature.items() if name != "id"}
    return {**rest, "geometry": shapely.geometry.mapping(polygon), "properties": properties}


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        content = json.loads(raw, parse_constant=lambda _: None)  # NaN, which is no JSON
        if isinstance(content, dict):
            content = [content] if content.get("type") == "Feature" else content["features"]
        if not isinstance(content, list) or not all(isinstance(feature, dict) for feature in content):
            raise TypeError("it holds no Features")
    except Exception as error:  # whatever a file of another kind makes of these
        reason = f"is no GeoJSON of outlines ({one_line(error)})"
        raise InputError(f"nuclei {path} {reason}: export polygons as GeoJSON") from error
    return content


def _kind(feature: dict[str, Any]) -> str:
    """QuPath's type of an object, in the spelling of version 0.3 and later; empty where the Feature has none."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    stated = properties.get("objectType") or properties.get("object_type") or feature.get("id")
    kind = str(stated).lower()
    if kind.startswith("path") and kind.endswith("object"):  # PathCellObject, as earlier versions wrote
        return kind.removeprefix("path").removesuffix("object")
    return "" if stated == feature.get("id") else kind


def _parts(geometry: Any, kind: str, what: str) -> list[Any] | None:
    """Outlines of nuclei in a geometry; None where it is no polygon of an annotation.

    Raises:
        InputError: the geometry is none of GeoJSON, or no polygon where it would be a nucleus.
    """
    if geometry is None:
        return []
    name = geometry.get("type") if isinstance(geometry, dict) else None
    if name not in ("Polygon", "MultiPolygon"):
        if kind not in (*NUCLEI, ""):
            return None
        raise InputError(f"{what} holds a {name}; expected polygons: export outlines, not centres")
    try:
        rings = [geometry["coordinates"]] if name == "Polygon" else geometry["coordinates"]
        parts = [_polygon(ring) for ring in rings]
    except (LookupError, TypeError, AttributeError, ValueError, shapely.GEOSException) as error:
        problem = f"{what} has coordinates that are no polygon's ({one_line(error)})"
        raise InputError(f"{problem}: export polygons as GeoJSON") from error
    return [shapely.multipolygons(parts)] if name == "MultiPolygon" and kind in NUCLEI else parts


def _polygon(rings: Any) -> Any:
    """A polygon in two dimensions; empty where a ring has fewer than three points."""
    points = [np.array([point[:2] for point in ring], dtype=float).reshape(-1, 2) for ring in rings]
    if not all(np.isfinite(each).all() for each in points):
        raise TypeError("a coordinate is no number")
    if not points or len(points[0]) < 3:
        return shapely.Polygon()
    return shape({"type": "Polygon", "coordinates": [each for each in points if len(each) >= 3]})


def _with_area(polygon: Any) -> Any:
    """A valid polygon or multipolygon: mending one that crosses itself can leave lines besides, which have no area."""
    valid = shapely.make_valid(polygon)
    if valid.geom_type in ("Polygon", "MultiPolygon") and valid.area > 0:
        return valid
    parts = [part for part in shapely.get_parts(shapely.get_parts(valid)) if part.geom_type == "Polygon"]
    united = shapely.union_all(parts)
    return united if united.area > 0 else None
