"""The class map as a DICOM Segmentation: tiles of each class, where it has any."""

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from math import ceil
from pathlib import Path
from typing import IO, Any

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.utils import compute_plane_position_tiled_full
from pydicom.dataset import Dataset

from monch_monai.writers.dicom_codes import CATEGORY, nucleus
from monch_monai.writers.dicom_file import Bulk, digest_of, pieces, write_dicom
from monch_monai.writers.dicom_source import THICKNESS, algorithm, description, finish, header, source_image, uid
from monch_monai.writers.pyramid import TILE, Squares
from monch_monai.writers.source import Source

MODIFIER = "SegmentedPropertyTypeModifierCodeSequence"
Frame = tuple[int, int, int]
"""Class, row and column of a tile."""


def write_segmentation(path: Path, source: Source, squares: Squares) -> None:
    """Writes the class map as a binary Segmentation (PS3.3 A.51), TILED_SPARSE, at the working resolution.

    Each class is a segment, whose frames are the tiles in which the class occurs; no tile's pixel is of two. A map of
    background alone has one empty frame, since a file without any is none. One square is in memory at a time.

    Args:
        path: to write.
        source: what the map is of.
        squares: the map; asked for once, row by row.

    Raises:
        InputError: there is more than DICOM holds.
        OSError: the disk is full.
    """
    with tempfile.TemporaryFile(dir=path.parent) as bits:
        frames = _keep(source, squares, bits)
        image = source_image(source)
        file = _head(source, image, f"{frames} {digest_of(bits)}")
        box = source.grid.box
        file.TotalPixelMatrixColumns, file.TotalPixelMatrixRows = box.width, box.height
        file.NumberOfFrames = len(frames)
        for dimension in (*file.DimensionOrganizationSequence, *file.DimensionIndexSequence):
            dimension.DimensionOrganizationUID = uid(source, "dimensions", file.SOPInstanceUID)
        finish(file)
        items = _items(file, image, frames)
        pixels = Bulk("OB", len(frames) * TILE * TILE // 8, pieces(bits))
        keys = (id(file), "PerFrameFunctionalGroupsSequence"), (id(file), "PixelData")
        write_dicom(path, file, dict(zip(keys, (items, pixels), strict=True)))


def _keep(source: Source, squares: Squares, bits: IO[bytes]) -> list[Frame]:
    """Writes frames, a bit a pixel, the first pixel lowest (PS3.5 8.1.1); returns what they are of."""
    frames, box = [], source.grid.box
    for row in range(ceil(box.height / TILE)):
        for column in range(ceil(box.width / TILE)):
            square = squares(row, column)
            for c in np.unique(square).tolist() if square is not None else []:
                if c:
                    frame = np.zeros((TILE, TILE), bool)
                    frame[: square.shape[0], : square.shape[1]] = square == c  # type: ignore[union-attr]
                    bits.write(np.packbits(frame.ravel(), bitorder="little").tobytes())
                    frames.append((c, row, column))
    if not frames:
        bits.write(bytes(TILE * TILE // 8))
        frames.append((1, 0, 0))
    return frames


def _head(source: Source, image: Dataset, content: str) -> Any:
    """The Segmentation of one tile with a pixel of each class: all but the frames, whose digest is `content`."""
    classes = source.class_table.nuclei
    pixels = np.zeros((1, TILE, TILE), np.uint8)
    pixels[0, 0, : len(classes)] = [c.index for c in classes]
    segments = []
    for c in classes:
        segment = SegmentDescription(
            c.index, c.name, CATEGORY, nucleus(c, MODIFIER), "AUTOMATIC", algorithm(source),
            display_color=CIELabColor.from_rgb(*c.color),
        )  # fmt: skip
        segment.SegmentDescription = f"Pixels of the class {c.name}. {description(source, image)}"
        segments.append(segment)
    mpp, x, y = source.grid.mpp, *_origin(image)
    return Segmentation(
        [image],
        pixels,
        "BINARY",
        segments,
        **header(source, image, "SEG", 9002, content),
        pixel_measures=PixelMeasuresSequence((mpp.y / 1000, mpp.x / 1000), THICKNESS),
        plane_orientation=PlaneOrientationSequence("SLIDE", image.ImageOrientationSlide),
        plane_positions=[PlanePositionSequence("SLIDE", (x, y, 0), (1, 1))],
        dimension_organization_type="TILED_SPARSE",
        specific_character_set="ISO_IR 192",
    )


def _items(file: Any, image: Dataset, frames: list[Frame]) -> Iterator[Dataset]:
    """Functional groups of each frame, made as they are written."""
    model = deepcopy(file.PerFrameFunctionalGroupsSequence[0])
    rows, columns = (sorted({frame[axis] for frame in frames}) for axis in (1, 2))
    row_ranks, column_ranks = ({n: i for i, n in enumerate(found, start=1)} for found in (rows, columns))
    spacing = file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    for c, row, column in frames:
        model.SegmentIdentificationSequence[0].ReferencedSegmentNumber = c
        model.FrameContentSequence[0].DimensionIndexValues = [c, row_ranks[row], column_ranks[column]]
        model.PlanePositionSlideSequence = compute_plane_position_tiled_full(
            row + 1, column + 1, *_origin(image), TILE, TILE, image.ImageOrientationSlide, spacing
        )
        yield model


def _origin(image: Dataset) -> tuple[float, float]:
    """Offset of level 0 on the slide, mm."""
    place = image.TotalPixelMatrixOriginSequence[0]
    return float(place.XOffsetInSlideCoordinateSystem), float(place.YOffsetInSlideCoordinateSystem)
