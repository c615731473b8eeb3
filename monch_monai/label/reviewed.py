"""What a submitted label says of an image: classes and nuclei of the pixels that were reviewed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from monch_monai.classes import IGNORE_INDEX, NUCLEUS_CLASSES
from monch_monai.data.images import read_class_map
from monch_monai.errors import InputError
from monch_monai.label.annotations import REVIEWED, SUFFIXES, VALUES, Outline, read_annotations
from monch_monai.nuclei import WatershedNuclei
from monch_monai.slides.geometry import Box

MOST_PIXELS = 100_000_000
"""Pixels of the largest part of a slide that is given out or taken in as a map."""


class Reviewed(NamedTuple):
    """The part of an image that a label is about.

    `box` is the part's place in the image. `classes [h, w]` uint8 holds 255 where the part was not reviewed after all,
    `instances [h, w]` int32 the nuclei.
    """

    box: Box
    classes: NDArray[np.uint8]
    instances: NDArray[np.int32]


def read_label(
    path: str | Path, size: tuple[int, int], mpp: float, box: Box | None = None, slide: bool = False
) -> Reviewed:
    """Reads a label: a class map as a picture or NIfTI file, or a file of annotations.

    A class map has the size of the image, or of `box`. In annotations, what no outline encloses is background, as far
    as it was reviewed: within the outlines of class `Region*`; where there are none, within `box`; without one,
    within the box that the file names; else in the whole image. Of a slide, where nobody means the whole, the box
    around all outlines stands for that. Later outlines lie over earlier ones.

    Args:
        path: the label's file.
        size: width and height of the image.
        mpp: µm per pixel, by which nuclei that touch in a class map are told apart.
        box: the part of the image that the label is said to be about.
        slide: whether the image is a slide.

    Raises:
        InputError: the label cannot be read, is not of the image's size, or says nothing.
    """
    whole = Box(0, 0, *size)
    if box is not None:
        _check_inside(box, whole)
    if Path(path).name.lower().endswith(SUFFIXES):
        return _from_outlines(Path(path), whole, box, slide)
    classes = read_class_map(path)
    place = whole if box is None else box
    if classes.shape != (place.height, place.width):
        raise InputError(
            f"label is {classes.shape[1]}x{classes.shape[0]} px; expected {place.width}x{place.height}, "
            f"the size of the {'image' if box is None else 'part that it is said to be about'}"
        )
    values = np.unique(classes)
    if IGNORE_INDEX in values and values[values > 0].min() == IGNORE_INDEX:  # as a mask of black and white has it
        raise InputError(
            f"label holds only {', '.join(map(str, values))}; a class map holds 0 to {len(NUCLEUS_CLASSES)}, and "
            f"{IGNORE_INDEX} only for what is to be left out"
        )
    probs = np.stack([classes == c.index for c in NUCLEUS_CLASSES]).astype(np.float32)
    return Reviewed(place, classes, WatershedNuclei(mpp, min_area_um2=0)(classes, probs).instance_map)


def part_of(request: dict[str, Any]) -> Box | None:
    """The part of an image that a request or a label's info names by `location` and `size`, px of level 0.

    None where there is neither, or a size that is not positive, by which clients mean the whole.

    Raises:
        InputError: they are not two whole numbers each.
    """
    numbers = [request.get(key) for key in ("location", "size")]
    if numbers[1] is None:
        return None
    try:
        (x, y), (w, h) = ([int(n) for n in pair] for pair in (numbers[0] or (0, 0), numbers[1]))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"location is {numbers[0]}, size {numbers[1]}; give two whole numbers each, px of level 0"
        ) from error
    return Box(x, y, w, h) if w > 0 and h > 0 else None


def rasterise(outlines: Sequence[Outline], box: Box) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Classes and instances `[h, w]` of the pixels of `box` whose centres outlines enclose; later outlines lie on top.

    The inverse of `monch_monai.nuclei.outlines`: what it outlined comes back to the pixel.
    """
    classes, instances = np.zeros((box.height, box.width), np.uint8), np.zeros((box.height, box.width), np.int32)
    for i, outline in enumerate(outlines, start=1):
        part = _around(outline.polygon.bounds, box)
        window, inside, value = part.within(box), _covered(outline.polygon, part), VALUES[outline.name]
        classes[window][inside] = value
        instances[window][inside] = i if value != IGNORE_INDEX else 0
    return classes, instances


def _covered(polygon: shapely.Geometry, box: Box) -> NDArray[np.bool_]:
    """Mask `[h, w]` of the box's pixels whose centres the polygon encloses."""
    shapely.prepare(polygon)
    rows, columns = np.mgrid[box.y : box.bottom, box.x : box.right] + 0.5
    inside: NDArray[np.bool_] = shapely.contains_xy(polygon, columns, rows)
    return inside


def _check_inside(box: Box, whole: Box) -> None:
    if not _is_inside(box, whole):
        raise InputError(
            f"part {box.width}x{box.height} px at ({box.x}, {box.y}) does not lie within the image of "
            f"{whole.width}x{whole.height} px"
        )


def _is_inside(box: Box, whole: Box) -> bool:
    return box.width > 0 and box.height > 0 and box.common(whole) == box


def _from_outlines(path: Path, whole: Box, box: Box | None, slide: bool) -> Reviewed:
    outlines, named_box = read_annotations(path)
    regions = [outline.polygon for outline in outlines if outline.name == REVIEWED]
    nuclei = [outline for outline in outlines if outline.name != REVIEWED]
    bounds = shapely.total_bounds([outline.polygon for outline in nuclei] or [shapely.Polygon()])
    near = shapely.box(*whole.grown(1)[:2], whole.right + 1, whole.bottom + 1)  # clients round to px
    if nuclei and not near.contains(shapely.box(*bounds)):
        reach = ", ".join(f"{value:g}" for value in bounds)
        raise InputError(
            f"label's outlines reach over ({reach}), but the image is {whole.width}x{whole.height} px: "
            "is the label of another image, or of another level of it?"
        )
    if box is None:
        if regions:
            box = _around(shapely.total_bounds(regions), whole)
        elif named_box is not None and _is_inside(named_box, whole):  # else it tells where the image was cut from
            box = named_box
        elif not slide:
            box = whole
        elif nuclei:
            box = _around(bounds, whole)
        else:
            raise InputError("label outlines nothing, so it says nothing of a slide")
    _check_inside(box, whole)
    if slide and box.width * box.height > MOST_PIXELS:
        raise InputError(f"label reviews {box.width}x{box.height} px, too many at once: draw a smaller Region")
    classes, instances = rasterise(nuclei, box)
    if regions:
        outside = ~_covered(shapely.union_all(regions), box)
        classes[outside], instances[outside] = IGNORE_INDEX, 0
    return Reviewed(box, classes, instances)


def _around(bounds: Sequence[float], outer: Box) -> Box:
    """The smallest box of whole pixels around bounds (left, top, right, bottom), as far as it lies in another."""
    (left, top), (right, bottom) = np.floor(bounds[:2]).astype(int), np.ceil(bounds[2:]).astype(int)
    return Box.between(int(left), int(top), int(right), int(bottom)).common(outer)
