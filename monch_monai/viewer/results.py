"""Results of inference in a folder: which slides and images there are, their nuclei, and where their pixels are."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monch_monai.arguments import path_text
from monch_monai.class_table import ClassTable
from monch_monai.cohort import fingerprint
from monch_monai.data.images import read_rgb
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.slides import ImageSlide, Slide, open_slide
from monch_monai.viewer.nucleus_table import provenance

SUMMARY, RECORDS = "summary.json", ("run.json", "run_slides.json", "run_inference.json")
TABLES = ("nuclei.parquet", "nuclei.geojson", "nuclei.geojson.gz")
"""Files of nuclei that are read, the first that exists."""


@dataclass(frozen=True)
class Result:
    """What inference wrote of one slide or image.

    Attributes:
        name: in the list, and in links to a place: of a slide its folder within the output folder, of an image its
            stem.
        table: file of its nuclei.
        picture: file or folder of the slide or image.
        about: the provenance that `table` states.
        summary: content of a slide's `summary.json`; of an image empty.
    """

    name: str
    table: Path
    picture: Path
    about: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What addresses name it by: another one where the nuclei were written again."""
        stat = self.table.stat()
        text = f"{self.table.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @cached_property
    def class_table(self) -> ClassTable:
        """Its own classes."""
        return ClassTable.from_dict(self.about["class_table"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings that a slide was segmented with."""
        settings: Mapping[str, Any] = self.summary.get("settings", {})
        return settings

    def check_picture(self) -> None:
        """Compares the picture with what the results record of the one that was segmented; older ones record nothing.

        Raises:
            InputError: the picture is missing, has other bytes, or cannot be read.
        """
        if not self.picture.exists():
            raise InputError(
                f"{self.picture}, the picture of {self.name}, does not exist: give the folder it is in by --slides"
            )
        recorded = self.settings.get("slide", [None])[-1] if self.summary else self.about.get("image_sha256")
        identify = fingerprint if self.summary else sha256
        try:
            is_same = recorded is None or identify(self.picture) == recorded
        except OSError as error:
            remedy = "give the folder of the picture by --slides"
            raise InputError(f"{self.picture} cannot be read ({error.strerror or error}): {remedy}") from error
        if not is_same:
            changed = f"{self.picture} is another file than the one whose nuclei {self.name} has"
            raise InputError(f"{changed}: segment it again, or give the folder of the earlier one by --slides")

    def open(self) -> Slide:
        """The pixels.

        Raises:
            InputError: `check_picture` refuses the slide or image, or it cannot be read.
        """
        self.check_picture()
        if self.summary:
            return open_slide(self.picture, self.settings.get("mpp"))
        return ImageSlide(read_rgb(self.picture), self.about["source_mpp"][0], str(self.picture))


def find_results(out: Path, slides: Path | None = None) -> list[Result]:
    """Results in a folder by name; also of a folder of one slide.

    Args:
        out: `--output_dir` of the inference, or a slide's folder in it.
        slides: file or folder of the slides or images; where None, `run.json` states it.

    Raises:
        InputError: `out` is no folder, or holds no result that has a file of nuclei; the place of the pictures is not
            recorded; or none of the pictures exists there.
    """
    if not out.is_dir():
        raise InputError(f"{out} is no folder: give the --output_dir of inference.json or inference_wsi.json")
    if slides is not None and not slides.exists():
        raise InputError(f"slides {slides} does not exist: give the file or folder of the slides or images")
    tables = list(_tables(out))
    if not tables:
        expected = "give the --output_dir of an inference whose --write had parquet or geojson"
        raise InputError(f"{out} holds no result with a file of nuclei: {expected}")
    source = slides if slides is not None else _recorded_source(out)
    results = [_result(name, table, folder, source) for name, table, folder in tables]
    if not any(result.picture.exists() for result in results):
        raise InputError(f"{results[0].picture} does not exist: give the folder that the slide is in now by --slides")
    return results


def _tables(out: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, file of nuclei, and for slides the folder, of each result."""
    for summary in sorted(out.rglob(SUMMARY)):
        folder, inside = summary.parent, summary.parent.relative_to(out)
        table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
        if table is not None and not any(part.startswith(".") for part in inside.parts):
            yield inside.as_posix() if inside.parts else folder.name, table, folder
    seen = set()
    for ending in TABLES:
        for table in sorted(out.glob(f"*_{ending}")):
            name = table.name.removesuffix(f"_{ending}")
            if name not in seen:
                seen.add(name)
                yield name, table, None


def _recorded_source(out: Path) -> Path:
    """The slides or images that `run.json` states."""
    for record in (folder / name for folder in (out, *out.resolve().parents[:2]) for name in RECORDS):
        if record.is_file():
            run = _read_json(record)
            given = (run.get("config") or {}).get("dataset_dir") or (run.get("settings") or {}).get("dataset_dir")
            if (
                run.get("kind") in ("slides", "inference")
                and isinstance(given, str)
                and given[:1] not in ("", "$", "@")
            ):
                return Path(run.get("working_dir", ".")) / path_text(given)
    raise InputError(f"{out} has no run.json that states where the slides are: give --slides")


def _result(name: str, table: Path, folder: Path | None, source: Path) -> Result:
    about = provenance(table)
    summary = {} if folder is None else _read_json(folder / SUMMARY)
    file = str(about["slide" if folder is not None else "image"])
    picture = source
    if source.is_dir() and source.name != file:
        picture = source / Path(name).parent / file
    elif source.is_file() and source.name != file:
        picture = source.parent / file
    return Result(name, table, picture, about, summary)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): segment again, or remove it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}; expected an object: segment again, or remove it")
    return content
