"""A slide's file and those that belong to it: its name in results, and what it is recognised by."""

import configparser
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from monch_monai.errors import InputError
from monch_monai.slides import dicom_files

ENDS = 1 << 20
"""Bytes at each end of a slide's file that it is recognised by."""
BETWEEN = 16
"""Pieces between the ends, of 64 KiB each: uncompressed slides of one size may have the same margins."""
ENDS_BESIDE = 1 << 16
"""The same of a file that lies beside the one that is given; there may be hundreds."""
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""DICOM's VL Whole Slide Microscopy Image Storage (PS3.4, table B.5-1)."""


def stem(path: Path) -> str:
    """Name of a slide's results: its own without suffix."""
    return path.name if path.is_dir() else path.stem


def result_name(path: Path, dataset_dir: Path | None) -> str:
    """Folder of a slide's results within the output folder: its `stem`, after the folders in which it lies within
    `dataset_dir`.
    """
    if dataset_dir is None or not path.parent.is_relative_to(dataset_dir):
        return stem(path)
    return (path.parent.relative_to(dataset_dir) / stem(path)).as_posix()


def refuse_name(path: Path, name: str) -> None:
    """Looks whether a name can be written into results.

    Raises:
        InputError: it is not UTF-8, as on disks that were written in Latin-1.
    """
    if printable(name) != name or printable(path.name) != path.name:
        raise InputError(f"the name {printable(path.name)} is not UTF-8, so results cannot state it: rename the slide")


def printable(text: str) -> str:
    """Text with bytes that are not UTF-8 written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def fingerprint(path: Path) -> str:
    """SHA-256 over the size, both ends and `BETWEEN` pieces of a slide's file, or of each file in its folder: slides
    are too large to read whole, and differ there. Files that belong to a slide beside its own count too, by their ends.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            files = [p for p in path.rglob("*") if p.is_file() and not _is_hidden(p.relative_to(path))]
            others = []
        else:
            files, others = [path], sorted(companions(path))
        for file, ends in [*((file, ENDS) for file in sorted(files)), *((file, ENDS_BESIDE) for file in others)]:
            size = file.stat().st_size
            digest.update(f"{size} ".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(ends))
                for place in range(1, BETWEEN + 1) if ends == ENDS else ():
                    opened.seek(size * place // (BETWEEN + 1))
                    digest.update(opened.read(ENDS_BESIDE))
                opened.seek(max(ends, size - ends))
                digest.update(opened.read(ends))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): replace or remove it") from error
    return digest.hexdigest()


def companions(path: Path) -> Iterator[Path]:
    """Files that belong to a slide beside the one that names it: all in MIRAX's folder, those that Hamamatsu's VMS and
    VMU name, and those of the same DICOM series (openslide.org/formats).

    Raises:
        OSError: a folder cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and path.with_suffix("").is_dir():
        yield from (p for p in path.with_suffix("").rglob("*") if p.is_file() and not p.name.startswith("."))
    elif suffix in (".vms", ".vmu"):
        named = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        try:
            named.read_string(path.read_text(encoding="utf-8", errors="replace"))
        except configparser.Error:  # no such file; whoever reads the slide reports it
            return
        values = {value for section in named.values() for value in section.values() if value and "\0" not in value}
        yield from (p for p in path.parent.iterdir() if p.name in values and p.is_file() and p != path)
    elif suffix == ".dcm":
        beside = [p for p in dicom_files(path.parent) if p != path]
        yield from (p for p in beside if series(p) == series(path)) if reads_dicom() else beside


def reads_dicom() -> bool:
    """Whether pydicom, which comes with the optional extra `dicom`, is installed."""
    return find_spec("pydicom") is not None


def series(path: Path) -> str | None:
    """UID of the series of whole-slide images that a DICOM file is of; None where it is of none, such as annotations,
    or cannot be read. Needs pydicom.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    return _series(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _series(path: Path, mtime_ns: int, size: int) -> str | None:
    from pydicom import dcmread

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SeriesInstanceUID"])
        return str(header.SeriesInstanceUID) if header.SOPClassUID == WHOLE_SLIDE else None
    except Exception:  # of many types, on files that are damaged
        return None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
