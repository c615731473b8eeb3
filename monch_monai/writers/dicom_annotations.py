"""Nuclei as DICOM Microscopy Bulk Simple Annotations: a group a class."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import shapely
from highdicom.ann import AnnotationGroup, Measurements, MicroscopyBulkSimpleAnnotations
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from monch_monai.class_table import NucleusClass
from monch_monai.segmentation import named
from monch_monai.writers.dicom_codes import CATEGORY, concept, nucleus, unit
from monch_monai.writers.dicom_file import Bulk, digest_of, pieces, write_dicom
from monch_monai.writers.dicom_source import algorithm, description, finish, header, source_image, uid
from monch_monai.writers.outline import rings
from monch_monai.writers.source import Source

logger = logging.getLogger(__name__)

ROWS = 1 << 14
"""Nuclei whose numbers are read at once."""
TRIANGLE = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
"""What highdicom makes the head of a group of, before its outlines take this one's place."""


class AnnotationFile:
    """Microscopy Bulk Simple Annotations (PS3.3 A.87) of closed polygons in px of the source's Total Pixel Matrix.

    A group has the property type Nucleus with the kind of cell as modifier, the class's name as label and its colour.
    Probabilities, area and features are its measurements, without the nuclei that have no value, and without those
    that no nucleus of the class has. Coordinates are single precision. Holes, and smaller parts of outlines in several,
    are left out: the standard has neither.

    What is added waits in files beside `path`. The standard has no file of no annotation, so for no nuclei none is
    written.

    Args:
        path: to write.
        source: what the nuclei are of.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source = path, source
        self.open = ExitStack()
        self.groups: dict[int, _Group] = {}

    def add(self, nuclei: pa.Table) -> None:
        """Keeps nuclei, as `Source.schema`."""
        table = named(nuclei, self.source.class_table)
        classes = table["class_index"].to_numpy()
        for index in np.unique(classes).tolist():
            if index not in self.groups:
                points, starts, numbers = (self._file() for _ in range(3))
                self.groups[index] = _Group(points, starts, numbers, len(self.source.quantities))
            rows = table.filter(classes == index)
            columns = [rows[quantity.column].to_numpy() for quantity in self.source.quantities]
            self.groups[index].add(rows["geometry"].to_numpy(), np.stack(columns, axis=1))

    def __enter__(self) -> "AnnotationFile":
        """The file to be."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Writes the file, unless there was an error.

        Raises:
            InputError: there is more than DICOM holds.
            OSError: the disk is full.
        """
        with self.open:
            if kind is None and self.groups:
                self._write()
            elif kind is None:
                logger.info("%s has no nuclei, and DICOM has no file of none", self.source.name)

    def _file(self) -> IO[bytes]:
        return self.open.enter_context(tempfile.TemporaryFile(dir=self.path.parent))

    def _write(self) -> None:
        image, streams = source_image(self.source), {}
        groups, heads = sorted(self.groups.items()), []
        content = digest_of(*(file for _, group in groups for file in (group.points, group.starts, group.numbers)))
        about = header(self.source, image, "ANN", 9001, f"{[index for index, _ in groups]} {content}")
        for number, (index, group) in enumerate(groups, start=1):
            c = self.source.class_table.classes[index]
            head = self._head(number, uid(self.source, "group", about["sop_instance_uid"], c.name), c, image)
            head.NumberOfAnnotations = group.count
            streams.update(group.streams(head))
            heads.append(head)
        file = MicroscopyBulkSimpleAnnotations([image], "2D", heads, **about, specific_character_set="ISO_IR 192")
        finish(file)
        write_dicom(self.path, file, streams)

    def _head(self, number: int, group_uid: str, c: NucleusClass, image: Dataset) -> AnnotationGroup:
        measured = [Measurements(concept(quantity), np.zeros(1), unit(quantity)) for quantity in self.source.quantities]
        return AnnotationGroup(
            number=number,
            uid=group_uid,
            label=c.name,
            annotated_property_category=CATEGORY,
            annotated_property_type=nucleus(c, "AnnotationPropertyTypeModifierCodeSequence"),
            graphic_type="POLYGON",
            graphic_data=[TRIANGLE],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm(self.source),
            measurements=measured,
            description=f"Nuclei of the class {c.name}. {description(self.source, image)}",
            display_color=CIELabColor.from_rgb(*c.color),
        )


class _Group:
    """Nuclei of a class: points, where each outline begins, and numbers, in files."""

    def __init__(self, points: IO[bytes], starts: IO[bytes], numbers: IO[bytes], width: int) -> None:
        self.points, self.starts, self.numbers = points, starts, numbers
        self.count, self.coordinates = 0, 0
        self.missing = np.zeros(width, np.int64)

    def add(self, geometries: NDArray[np.object_], numbers: NDArray[np.floating]) -> None:
        """Keeps outlines as WKB, and `[K, width]` numbers, NaN where there are none."""
        points, sizes = rings(shapely.from_wkb(geometries))
        starts = self.coordinates + 1 + 2 * np.append(0, np.cumsum(sizes)[:-1])
        self.points.write(points.astype("<f4").tobytes())
        self.starts.write(starts.astype("<u4").tobytes())
        self.numbers.write(numbers.astype("<f4").tobytes())
        self.missing += np.isnan(numbers).sum(axis=0)
        self.count, self.coordinates = self.count + len(sizes), self.coordinates + points.size

    def streams(self, head: AnnotationGroup) -> dict[tuple[int, str], Any]:
        """What takes the place of the triangle and its numbers."""
        made: dict[tuple[int, str], Any] = {
            (id(head), "PointCoordinatesData"): Bulk("OF", 4 * self.coordinates, pieces(self.points)),
            (id(head), "LongPrimitivePointIndexList"): Bulk("OL", 4 * self.count, pieces(self.starts)),
        }
        measured_by_column = list(enumerate(head.MeasurementsSequence))
        head.MeasurementsSequence = [m for i, m in measured_by_column if self.missing[i] < self.count]
        for i, measured in measured_by_column:
            values = measured.MeasurementValuesSequence[0]
            length = 4 * (self.count - int(self.missing[i]))
            made[id(values), "FloatingPointValues"] = Bulk("OF", length, self._column(i, places=False))
            if self.missing[i]:
                values.AnnotationIndexList = b""
                made[id(values), "AnnotationIndexList"] = Bulk("OL", length, self._column(i, places=True))
        return made

    def _column(self, column: int, places: bool) -> Iterator[bytes]:
        """A number's values without NaN; or the places, from 1, of nuclei that have one."""
        self.numbers.seek(0)
        width, first = len(self.missing), 1
        while block := self.numbers.read(4 * width * ROWS):
            values = np.frombuffer(block, "<f4").reshape(-1, width)[:, column]
            known = ~np.isnan(values)
            yield (first + np.flatnonzero(known)).astype("<u4").tobytes() if places else values[known].tobytes()
            first += len(values)
