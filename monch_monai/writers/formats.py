"""The formats of `--write`: names, files, and what each needs."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol, Self

import pyarrow as pa

from monch_monai.arguments import shell_command
from monch_monai.errors import InputError, shown
from monch_monai.writers.pyramid import Squares
from monch_monai.writers.source import Source

logger = logging.getLogger(__name__)


class NucleusFile(AbstractContextManager["NucleusFile", None], Protocol):
    """A file that grows while nuclei are added; `with` ends it, and after an error leaves it unfinished."""

    def __enter__(self) -> Self:
        """The open file."""

    def add(self, nuclei: pa.Table) -> None:
        """Writes nuclei, as `Source.schema`."""


class Format(NamedTuple):
    """A format.

    Attributes:
        file: name of the file, after the slide's folder or an image's stem.
        writer: module and name in this package: of nuclei a `NucleusFile` of path and source, of class maps a function
            of path, source and squares.
        of_map: whether it is of the class map.
        needs: a module of another package.
        extra: of this package, that installs it.
        needs_nuclei: whether there is no file of no nuclei.
        folder: whether it is a folder, which its writer renames into place when it is whole.
    """

    file: str
    writer: str
    of_map: bool = False
    needs: str = ""
    extra: str = ""
    needs_nuclei: bool = False
    folder: bool = False

    def holds(self, nuclei: pa.Table | None) -> bool:
        """Whether a format of nuclei can hold these; None is where none were looked for."""
        return nuclei is not None and bool(nuclei.num_rows or not self.needs_nuclei)

    def load(self) -> Any:
        """The writer."""
        return resolve_name(f"monch_monai.writers.{self.writer}")


FORMATS = {
    "geojson": Format("nuclei.geojson", "geojson:GeoJsonFile"),
    "parquet": Format("nuclei.parquet", "parquet:ParquetFile"),
    "dicom": Format(
        "nuclei.dcm", "dicom_annotations:AnnotationFile", needs="highdicom", extra="dicom", needs_nuclei=True
    ),
    "dsa": Format("nuclei.dsa.json", "dsa:DsaFile"),
    "anndata": Format("nuclei.h5ad", "h5ad:H5adFile", needs="anndata", extra="anndata"),
    "spatialdata": Format(
        "nuclei.zarr", "spatialdata_store:SpatialDataStore", needs="spatialdata", extra="spatialdata", folder=True
    ),
    "pyramid": Format("classes.ome.tif", "pyramid:write_pyramid", of_map=True),
    "seg": Format(
        "classes.dcm", "dicom_segmentation:write_segmentation", of_map=True, needs="highdicom", extra="dicom"
    ),
}
"""By name in `--write`."""
SLIDE_FORMATS, IMAGE_FORMATS = ("geojson", "parquet", "pyramid"), ("geojson",)
"""What is written where nothing else is asked for."""
VIEWED = ("geojson", "parquet")
"""Files of nuclei that the command `view` shows."""


def log_view(formats: Sequence[str], output_dir: Path, picture: Path) -> None:
    """Logs, as the last lines of an inference, its contour or overview picture and the command that shows the results.

    Args:
        formats: names in `FORMATS` that were written; without files of nuclei where there are none.
        output_dir: of the inference.
        picture: of one image or slide.
    """
    logger.info("%-8s %s", "picture", picture)
    if set(formats) & set(VIEWED):
        logger.info("%-8s %s", "viewer", shell_command("view", output_dir))
    else:
        logger.info("%-8s needs nuclei and --write with %s", "viewer", " or ".join(VIEWED))


def chosen_formats(name: str, value: str | Sequence[str]) -> list[str]:
    """Names in `FORMATS`, in its order, of a word, words with commas between, or a list.

    Raises:
        InputError: `value` is anything else or empty, a name is of no format, or its package is not installed.
    """
    words = value.split(",") if isinstance(value, str) else value
    known = f"give some of {', '.join(FORMATS)}"
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise InputError(f"{name} is {shown(value)}; {known}, as [geojson,parquet]")
    wanted = [word.strip() for word in words]
    for word in wanted:
        if word not in FORMATS:
            raise InputError(f"{name} has {shown(word)}; {known}")
        needs, extra = FORMATS[word].needs, FORMATS[word].extra
        if needs and find_spec(needs) is None:
            raise InputError(
                f"{name} has {word!r}, which needs {needs}: pip install '.[{extra}]', or pip install {needs}"
            )
    return [format_ for format_ in FORMATS if format_ in wanted]


def nucleus_files(formats: Sequence[str], folder: Path, source: Source, gzip: bool = False) -> list[NucleusFile]:
    """Files of nuclei in a slide's folder, to be entered.

    Args:
        formats: by `chosen_formats`; those of class maps are left out.
        folder: of the slide.
        source: what the nuclei are of.
        gzip: whether GeoJSON is compressed.
    """
    made = []
    for name in formats:
        format_ = FORMATS[name]
        if not format_.of_map:
            made.append(format_.load()(folder / file_name(name, gzip), source))
    return made


def write_maps(formats: Sequence[str], folder: Path, source: Source, squares: Squares) -> None:
    """Writes the class map of a slide into its folder in each of the formats of class maps."""
    for name in formats:
        if FORMATS[name].of_map:
            FORMATS[name].load()(folder / file_name(name), source, squares)


def file_name(name: str, gzip: bool = False) -> str:
    """Name of a format's file; GeoJSON's may be compressed."""
    return FORMATS[name].file + (".gz" if gzip and name == "geojson" else "")
