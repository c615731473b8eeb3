"""Submitted labels as a prepared dataset (`monch_monai.data.tiles`), to train on."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monch_monai.class_table import IGNORE_INDEX, PANNUKE, ClassTable, Vocabulary
from monch_monai.data.tiles import Tile
from monch_monai.data.writer import Fold, write_tiles
from monch_monai.errors import InputError
from monch_monai.geometry import NETWORK_MPP, TILE_SIZE, Level0Box, WorkingBox, WorkingGrid
from monch_monai.label.labels import Reviewed, read_labels
from monch_monai.label.scale import same_mpp
from monch_monai.settings import number
from monch_monai.slides import grid_of, read_working
from monch_monai.slides.image_files import is_slide, open_image

logger = logging.getLogger(__name__)


class Labelled(NamedTuple):
    """An image with its label: the image's id, both files, and the part that the label is of, where one was stated.

    `mpp` is as in `open_image`, and `assumed` whether nobody has stated it; `class_table` has the label's classes.
    `slide` is the id of the slide that the image was cut from; where it is empty, the image's own stands for that.
    """

    name: str
    image: Path
    label: Path
    part: Level0Box | None = None
    mpp: float | None = None
    class_table: ClassTable = PANNUKE
    slide: str = ""
    assumed: bool = False

    def read(self) -> Reviewed:
        """The label's classes and nuclei.

        Raises:
            InputError: it cannot be used with the image.
        """
        with closing(open_image(self.image, self.mpp)) as image:
            return read_labels(
                self.label, image.box, image.resolution.mean, self.class_table, self.part, is_slide(self.image)
            )

    def tiles(self) -> Iterator[Tile]:
        """Tiles of 256 px at 0.25 µm/px that cover the part that was reviewed, none overlapping.

        Where a tile reaches beyond that part, its label is 255. A tile with nothing else is left out.

        Raises:
            InputError: image or label cannot be used.
        """
        reviewed = self.read()
        with closing(open_image(self.image, self.mpp)) as image:
            grid = grid_of(image)
            for part in grid.covering(reviewed.box).squares(TILE_SIZE):
                box = WorkingBox(part.x, part.y, TILE_SIZE, TILE_SIZE)
                classes, instances = _labels(reviewed, grid, box)
                if (classes != IGNORE_INDEX).any():
                    pixels = read_working(image, grid, box)
                    yield Tile(pixels, classes, instances, "unknown", f"{self.name} at ({box.x}, {box.y})")


def _labels(reviewed: Reviewed, grid: WorkingGrid, box: WorkingBox) -> tuple[np.ndarray, np.ndarray]:
    """Classes and instances of a tile: of each pixel, those of the pixel of level 0 at its centre."""
    x, y, w, h = reviewed.box
    columns = np.floor((np.arange(box.x, box.right) + 0.5) * grid.per_level0[0]).astype(int) - x
    rows = np.floor((np.arange(box.y, box.bottom) + 0.5) * grid.per_level0[1]).astype(int) - y
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))[None, :]
    place = np.ix_(rows.clip(0, h - 1), columns.clip(0, w - 1))
    classes = np.where(inside, reviewed.classes[place], IGNORE_INDEX).astype(np.uint8)
    ids = np.where(inside, reviewed.instances[place], 0)
    _, numbered = np.unique(np.append(0, ids), return_inverse=True)  # 0 stays 0, also where a tile has none
    return classes, numbered[1:].reshape(ids.shape).astype(np.uint16)


def write_labelled(dataset_dir: str | Path, labelled: Sequence[Labelled], val_split: float = 0.2) -> None:
    """Writes a prepared dataset with one split, by slide: no image or slide has tiles on both sides.

    Which are held out depends on the slides' names and numbers of images alone, so that most stay on their side as
    labels are added.

    Args:
        dataset_dir: the folder to make.
        labelled: images with their labels.
        val_split: share of the images held out, of at least one slide. Where all are of one slide, or the share is 0,
            validation is on the training tiles and measures nothing on other images.

    Raises:
        InputError: there is no label, one cannot be used with its image, or the resolution of one is assumed while
            others state another.
    """
    if not labelled:
        raise InputError("no image has a label yet: submit one, then train")
    number("val_split", val_split, least=0, below=1, unit="the share of the images held out, ")
    _check_scales(labelled)
    ordered = sorted(labelled, key=lambda each: (_hash(each.slide or each.name), _hash(each.name)))
    held_out = _held_out(ordered, val_split)
    parts = {
        "train": [each for each in ordered if (each.slide or each.name) not in held_out],
        "validation": [each for each in ordered if (each.slide or each.name) in held_out],
    }
    if not held_out:
        why = "val_split is 0" if not val_split else "all labels are of one image or slide"
        logger.warning("no image is held out (%s): validation is on the training tiles and measures nothing else", why)
    folds = {name: _fold(part) for name, part in parts.items() if part}
    split = {"train": ["train"], "validation": ["validation" if held_out else "train"]}
    vocabulary = Vocabulary.of_table(labelled[0].class_table)
    name, origin = "labels submitted to MONAI Label", "reviewed by hand"
    write_tiles(dataset_dir, folds, {"1": split}, vocabulary=vocabulary, name=name, labels=origin)


def _fold(part: Sequence[Labelled]) -> Fold:
    def tiles(start: int) -> Iterator[Tile]:
        return islice((tile for each in part for tile in each.tiles()), start, None)

    return Fold(sum(1 for _ in tiles(0)), tiles, TILE_SIZE)


def _held_out(ordered: Sequence[Labelled], val_split: float) -> set[str]:
    """Slides held out: in their order those that fit into the share of images; where none fits, the smallest."""
    sizes = Counter(each.slide or each.name for each in ordered)
    if not val_split or len(sizes) == 1:
        return set()
    left, chosen = max(1, round(val_split * len(ordered))), set[str]()
    for slide, size in sizes.items():
        if size <= left and len(chosen) < len(sizes) - 1:
            chosen.add(slide)
            left -= size
    return chosen or {min(sizes, key=lambda slide: sizes[slide])}


def _check_scales(labelled: Sequence[Labelled]) -> None:
    """Logs how many images have which resolution: all are brought to 0.25 µm/px.

    Raises:
        InputError: some are assumed to have another than the rest.
    """
    scales = Counter((each.mpp or NETWORK_MPP, each.assumed) for each in labelled)
    texts = [f"{count} at {mpp:g} µm/px{' (assumed)' * guess}" for (mpp, guess), count in sorted(scales.items())]
    assumed = [each for each in labelled if each.assumed]
    level = logging.WARNING if assumed else logging.INFO
    logger.log(level, "labels of %d images: %s; all are brought to 0.25 µm/px", len(labelled), ", ".join(texts))
    stated = {mpp for mpp, guess in scales if not guess}
    for each in assumed:
        if any(not same_mpp(each.mpp or NETWORK_MPP, mpp) for mpp in stated):
            names = ", ".join(one.name for one in assumed[:3]) + ", …" * (len(assumed) > 3)
            found = f"{len(assumed)} images have no resolution ({names}), while others have {_listed(stated)} µm/px"
            raise InputError(
                f"{found}: give theirs, mpp in params of PUT /datastore/label, or --conf mpp at the server's start"
            )


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(numbers))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
