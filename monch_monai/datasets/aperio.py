"""Pictures with outlines in Aperio's XML, the layout of MoNuSeg and MoNuSAC."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import openslide
import shapely
from numpy.typing import NDArray
from PIL import Image

from monch_monai.class_table import IGNORE_INDEX
from monch_monai.data.images import MIN_SIZE, read_rgb
from monch_monai.datasets.fields import LARGEST, MOST_NUCLEI, Field, Labelled
from monch_monai.datasets.folders import files_beneath
from monch_monai.datasets.patients import patient_of, tissue_of
from monch_monai.errors import InputError, one_line, shown
from monch_monai.geometry import Level0Box
from monch_monai.nuclei.rasterise import rasterise

PICTURES = (".tif", ".tiff", ".svs")
"""Suffixes of pictures; of a picture in several forms the first is read."""
TEST = re.compile(r"Test|TEST|(?<![A-Za-z])test")
"""What a folder's name contains whose fields are the test part."""
FARTHEST = 1e6
"""Largest coordinate of an outline, px."""


class Region(NamedTuple):
    """One outline: the name of its annotation, `""` where it has none, and its polygon in px of the picture."""

    name: str
    polygon: shapely.Geometry


def find_fields(source: str | Path, read: Callable[[Path, Path], Labelled]) -> list[Field]:
    """Pictures of a folder and its subfolders, each with the XML file of the same stem, wherever that lies.

    Those in a subfolder that is named for a test (`TEST`) belong to the test part.

    Args:
        source: the folder.
        read: makes a labelled field of a picture and its XML file.

    Raises:
        InputError: there is no picture, two pictures or two XML files have one name, or a file lacks its partner.
    """
    root = Path(source)
    if not root.is_dir():
        raise InputError(f"source {root} is not a folder: give the folder with the unpacked zips")
    files = files_beneath(root)
    by_suffix = {suffix: _by_stem([p for p in files if p.suffix.lower() == suffix]) for suffix in (*PICTURES, ".xml")}
    pictures = {stem: path for suffix in reversed(PICTURES) for stem, path in by_suffix[suffix].items()}
    outlines = by_suffix[".xml"]
    if not pictures:
        raise InputError(f"source {root} holds no picture ({', '.join(PICTURES)}): give the unpacked zips")
    for stem in sorted(pictures.keys() ^ outlines.keys()):
        if stem in pictures:
            raise InputError(f"{pictures[stem]} has no labels: {stem}.xml is nowhere beneath {root}; fetch it")
        raise InputError(f"{outlines[stem]} has no picture: {stem}{PICTURES[0]} is nowhere beneath {root}; fetch it")
    fields = []
    for stem, path in sorted(pictures.items()):
        patient = patient_of(stem)
        for_test = any(TEST.search(part) for part in path.relative_to(root).parts[:-1])
        make = partial(read, path, outlines[stem])
        fields.append(Field(stem, patient, tissue_of(patient), (path, outlines[stem]), make, for_test))
    return fields


def read_field(picture: Path, outlines: Path, value_of: Mapping[str, int] | int) -> Labelled:
    """A picture with the nuclei of its outlines drawn.

    Where regions overlap, a pixel is of the smallest. Regions of fewer than three points or without area are left out.

    Args:
        picture: its file.
        outlines: its XML file.
        value_of: label by the name of an annotation in lower case; or one label for all, whatever their names.

    Raises:
        InputError: a file cannot be read, an annotation has another name, or there are too many regions.
    """
    image = read_picture(picture)
    regions = read_regions(outlines, value_of if isinstance(value_of, Mapping) else None)
    drawn = sorted((r for r in regions if r.polygon.area > 0), key=lambda region: -region.polygon.area)
    if len(drawn) > MOST_NUCLEI:
        raise InputError(f"{outlines} has {len(drawn):,} regions; at most {MOST_NUCLEI:,} fit: cut the picture up")
    height, width = image.shape[:2]
    instances = rasterise([region.polygon for region in drawn], Level0Box(0, 0, width, height))
    values = [value_of if isinstance(value_of, int) else value_of[region.name.lower()] for region in drawn]
    classes: NDArray[np.uint8] = np.array([0, *values], np.uint8)[instances]
    remarks = {
        "regions without an area, left out": len(regions) - len(drawn),
        "regions outside their picture or under others": len(drawn) - int(np.count_nonzero(np.unique(instances))),
        "outlined cells left out of loss and scores": values.count(IGNORE_INDEX),
    }
    return Labelled(image, classes, instances, remarks)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` of a TIFF, or of level 0 of a small SVS, whose compression Pillow may lack.

    Raises:
        InputError: it cannot be read, or is too large for a field, or too small.
    """
    if path.suffix.lower() != ".svs":
        return read_rgb(path)
    try:
        with openslide.OpenSlide(path) as slide:
            size = slide.dimensions
            if min(size) >= MIN_SIZE and max(size) <= LARGEST:
                pixels = slide.read_region((0, 0), 0, size)
                return np.asarray(Image.alpha_composite(Image.new("RGBA", size, "white"), pixels).convert("RGB"))
    except (openslide.OpenSlideError, OSError) as error:
        raise InputError(f"{path} cannot be read as a slide ({one_line(error)}): fetch it again") from error
    raise InputError(f"{path} is of {size[0]}x{size[1]} px; a field has {MIN_SIZE} to {LARGEST} px a side")


def read_regions(path: Path, names: Collection[str] | None = None) -> list[Region]:
    """All regions of an Aperio XML file, in its order; one of fewer than three points is an empty polygon.

    Args:
        path: the file.
        names: what annotations may be called, in lower case; None takes any.

    Raises:
        InputError: the file cannot be read, is not Aperio's, has a document type (where entities that expand without
            end are declared), a coordinate is no number, or an annotation with regions has another name.
    """
    try:
        root = _parse(path.read_bytes())
        if root.tag != "Annotations":
            raise ValueError(f"its root is {root.tag}")
        regions = [
            Region(_name(annotation), _polygon([(v.attrib["X"], v.attrib["Y"]) for v in region.iter("Vertex")]))
            for annotation in root.iter("Annotation")
            for region in annotation.iter("Region")
        ]
    except (OSError, expat.ExpatError, shapely.errors.ShapelyError, ValueError, LookupError) as error:
        reason = f"cannot be read as Aperio's XML ({one_line(error)})"
        raise InputError(f"{path} {reason}: expected Annotations with Regions of Vertices; fetch it again") from error
    for region in regions:
        if names is not None and region.name.lower() not in names:
            raise InputError(
                f"{path} has regions of {shown(region.name)}; expected {', '.join(names)}: rename or remove it"
            )
    return regions


def _parse(data: bytes) -> ElementTree.Element:
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(data, True)
    return builder.close()


def _refuse_doctype(*_: object) -> NoReturn:
    raise ValueError("it has a document type")


def _name(annotation: ElementTree.Element) -> str:
    names = [attribute.get("Name", "").strip() for attribute in annotation.findall("Attributes/Attribute")]
    return next(filter(None, names), "")


def _polygon(vertices: Sequence[tuple[str, str]]) -> shapely.Geometry:
    points = [(float(x), float(y)) for x, y in vertices]
    for value in (value for point in points for value in point):
        if not math.isfinite(value) or abs(value) > FARTHEST:
            raise ValueError(f"a point of it lies at {value:g}")
    polygon = shapely.Polygon(points if len(points) > 2 else None)
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        twin = found.setdefault(path.stem, path)
        if twin != path:
            raise InputError(f"two files are named {path.name}, {twin} and {path}: remove one")
    return found
