"""Submitted labels: classes and nuclei of the pixels of an image that were reviewed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX, ClassTable
from monch_monai.data.images import read_class_map
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import REVIEWED, SUFFIXES, Outline, read_annotations, values
from monch_monai.nuclei import WatershedNuclei, covered, rasterise

MOST_PIXELS = 100_000_000
"""Pixels of the largest part of a slide that is given out or taken in as a map."""


class Reviewed(NamedTuple):
    """The part of an image that a label is about.

    `box` is the part's place in the image. `classes [h, w]` uint8 holds 255 where the part was not reviewed after all,
    `instances [h, w]` int32 the nuclei.
    """

    box: Level0Box
    classes: NDArray[np.uint8]
    instances: NDArray[np.int32]


def read_labels(
    path: str | Path,
    whole: Level0Box,
    mpp: float,
    class_table: ClassTable,
    box: Level0Box | None = None,
    slide: bool = False,
) -> Reviewed:
    """Reads a label: a class map as a picture or NIfTI file, or a file of annotations.

    A class map has the size of the image, or of `box`. In annotations, what no outline encloses is background, as far
    as it was reviewed: within the outlines of class `Region*`; where there are none, within `box`; without one,
    within the box that the file names; else in the whole image. Of a slide, where nobody means the whole, the box
    around all outlines stands for that. Later outlines lie over earlier ones.

    Args:
        path: the label's file.
        whole: the whole image.
        mpp: µm per pixel, by which nuclei that touch in a class map are separated.
        class_table: the classes of the label.
        box: the part of the image that the label is of, where a client stated one.
        slide: whether the image is a slide.

    Raises:
        InputError: the label cannot be read, is not of the image's size, or outlines nothing on a slide.
    """
    if box is not None:
        _check_inside(box, whole)
    if Path(path).name.lower().endswith(SUFFIXES):
        return _from_outlines(Path(path), whole, class_table, box, slide)
    classes = read_class_map(path, len(class_table))
    place = whole if box is None else box
    if classes.shape != (place.height, place.width):
        found, of = f"{classes.shape[1]}x{classes.shape[0]} px", "image" if box is None else "part it is stated for"
        raise InputError(f"label is {found}; expected {place.width}x{place.height}, the size of the {of}")
    held = np.unique(classes)
    if IGNORE_INDEX in held and held[held > 0].min() == IGNORE_INDEX:  # as a mask of black and white has it
        expected = f"0 to {len(class_table.nuclei)}, and {IGNORE_INDEX} only for what is to be left out"
        raise InputError(f"label holds only {', '.join(map(str, held))}; a class map holds {expected}")
    probs = np.stack([classes == c.index for c in class_table.nuclei]).astype(np.float32)
    return Reviewed(place, classes, WatershedNuclei(mpp, min_area_um2=0)(classes, probs).instance_map)


def requested_part(request: dict[str, Any]) -> Level0Box | None:
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
        given = f"location is {numbers[0]}, size {numbers[1]}"
        raise InputError(f"{given}; give two whole numbers each, px of level 0") from error
    return Level0Box(x, y, w, h) if w > 0 and h > 0 else None


def draw(
    outlines: Sequence[Outline], box: Level0Box, class_table: ClassTable
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Classes and instances `[h, w]` of the pixels of `box` whose centres outlines enclose; later outlines lie on top.

    What an outline of class `Ignore*` encloses has the class 255 and is no nucleus.
    """
    numbers = rasterise([outline.polygon for outline in outlines], box)
    value_of = values(class_table)
    classes = np.array([0, *(value_of[outline.name] for outline in outlines)], np.uint8)[numbers]
    return classes, np.where(classes == IGNORE_INDEX, 0, numbers).astype(np.int32)


def _check_inside(box: Level0Box, whole: Level0Box) -> None:
    if not _is_inside(box, whole):
        given = f"part {box.width}x{box.height} px at ({box.x}, {box.y})"
        raise InputError(f"{given} does not lie within the image of {whole.width}x{whole.height} px")


def _is_inside(box: Level0Box, whole: Level0Box) -> bool:
    return box.width > 0 and box.height > 0 and box.common(whole) == box


def _from_outlines(
    path: Path, whole: Level0Box, class_table: ClassTable, box: Level0Box | None, slide: bool
) -> Reviewed:
    outlines, named_box = read_annotations(path, class_table)
    regions = [outline.polygon for outline in outlines if outline.name == REVIEWED]
    nuclei = [outline for outline in outlines if outline.name != REVIEWED]
    bounds = shapely.total_bounds([outline.polygon for outline in nuclei] or [shapely.Polygon()])
    near = shapely.box(-1, -1, whole.right + 1, whole.bottom + 1)  # clients round to px
    if nuclei and not near.contains(shapely.box(*bounds)):
        reach = ", ".join(f"{value:g}" for value in bounds)
        found = f"label's outlines reach over ({reach}), but the image is {whole.width}x{whole.height} px"
        raise InputError(f"{found}: is the label of another image, or of another level of it?")
    if box is None:
        if regions:
            box = Level0Box.around(shapely.total_bounds(regions)).common(whole)
        elif named_box is not None and _is_inside(named_box, whole):  # else it is where the image was cut from
            box = named_box
        elif not slide:
            box = whole
        elif nuclei:
            box = Level0Box.around(bounds).common(whole)
        else:
            raise InputError("label outlines nothing of a slide: outline nuclei, or a Region without any")
    _check_inside(box, whole)
    if slide and box.width * box.height > MOST_PIXELS:
        raise InputError(f"label reviews {box.width}x{box.height} px, too many at once: draw a smaller Region")
    classes, instances = draw(nuclei, box, class_table)
    if regions:
        outside = ~covered(shapely.union_all(regions), box)
        classes[outside], instances[outside] = IGNORE_INDEX, 0
    return Reviewed(box, classes, instances)
