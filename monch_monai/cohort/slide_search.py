"""The slides of a folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

from monch_monai.cohort.results import SUMMARY, THUMBNAIL_FILE, TISSUE_FILE
from monch_monai.cohort.slide_file import reads_dicom, result_name, series
from monch_monai.errors import InputError
from monch_monai.files import refuse_twins
from monch_monai.slides import SUFFIXES, dicom_files

logger = logging.getLogger(__name__)

NAMED = 5
"""Names that a message lists at most."""


def find_slides(path: str | Path | None, recursive: bool = False, output_dir: Path | None = None) -> list[Path]:
    """Slides of a folder by name, or the one given; hidden files, such as macOS's `._NAME`, are none.

    A folder of DICOM files of one series is a slide. Of several series in a folder, or DICOM beside other slides, each
    series is one, by its first file. Such folders are found within `path`; into other subfolders only `recursive`
    looks, and the log names those that were not looked into.

    Args:
        path: of the folder or slide.
        recursive: whether to look into all subfolders, but for folders of results.
        output_dir: subfolder that is left out.

    Raises:
        InputError: the path has no slide or cannot be read, or two slides would write the same folder.
    """
    if path is None:
        raise InputError("no slides given: give --dataset_dir, a folder of slides or one slide")
    source = Path(path)
    if not source.exists():
        raise InputError(f"dataset_dir {source} does not exist: give a folder of slides or one slide")
    if source.is_file():
        return [source]
    search = _Search(recursive, output_dir)
    try:
        slides = list(search.slides(source))
    except OSError as error:
        raise InputError(f"dataset_dir {source} cannot be read ({error.strerror or error}): give another") from error
    unseen = f"not looked into: {_some(search.left_out)}; --recursive true does" if search.left_out else ""
    if not slides:
        expected = f"give a folder with at least one of {', '.join(SUFFIXES)}"
        raise InputError("; ".join(filter(None, (f"{source} holds no slide: {expected}", unseen))))
    if unseen:
        logger.warning("%s", unseen)
    slides.sort(key=lambda slide: slide.parts)
    if slides == [source]:
        return slides
    _refuse_overlaps(slides, source)
    return slides


class _Search:
    """Looks for slides in folders, each once, also where links lead in circles.

    Attributes:
        left_out: folders that were not looked into.
    """

    def __init__(self, recursive: bool, output_dir: Path | None) -> None:
        self.recursive, self.left_out = recursive, list[Path]()
        self.seen = set() if output_dir is None else {output_dir.resolve()}

    def slides(self, folder: Path, depth: int = 0) -> Iterator[Path]:
        """Slides of a folder, and of those in it that are looked into."""
        self.seen.add(folder.resolve())
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        folders = [p for p in entries if p.is_dir()]
        dicom = dicom_files(folder)
        others = [p for p in entries if p.suffix.lower() in {*SUFFIXES} - {".dcm"} and p not in folders]
        yield from others
        yield from _dicom_slides(folder, dicom, bool(others))
        mirax = {p.with_suffix("") for p in others if p.suffix.lower() == ".mrxs"}
        for inner in folders:
            if inner in mirax or inner.resolve() in self.seen or _holds_results(inner):
                continue
            try:
                if self.recursive or (not depth and dicom_files(inner)):
                    yield from self.slides(inner, depth + 1)
                else:
                    self.left_out.append(inner)
            except OSError as error:
                logger.warning("%s cannot be read (%s): not looked into", inner, error.strerror or error)


def _dicom_slides(folder: Path, files: list[Path], beside_others: bool) -> Iterator[Path]:
    """The folder, where all its DICOM files are of one slide and it has no other slides; else a file a series."""
    if not files:
        return
    if not reads_dicom():
        if beside_others:
            raise InputError(f"{folder} holds DICOM beside other slides: pip install wsidicom to read both")
        yield folder
        return
    by_series: dict[str | None, Path] = {}
    for file in files:
        by_series.setdefault(series(file), file)
    slides = [file for uid, file in by_series.items() if uid is not None]
    if len(slides) < 2 and not beside_others:
        yield folder  # also where no file is of a slide: reading it reports that
        return
    yield from slides
    if left_out := [file for file in files if series(file) is None]:
        logger.warning("no whole-slide images, left out: %s", _some(left_out))


def _refuse_overlaps(slides: list[Path], source: Path) -> None:
    """Compares the folders of results.

    Raises:
        InputError: two slides have the same, or one has its within another's.
    """
    refuse_twins(slides, lambda slide: result_name(slide, source))
    names = {result_name(slide, source): slide for slide in slides}
    for name, slide in names.items():
        for parent in Path(name).parents:
            if other := names.get(parent.as_posix()):
                raise InputError(f"{other} and {slide} would both write {parent.as_posix()}: rename one")


def _holds_results(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (SUMMARY, THUMBNAIL_FILE, TISSUE_FILE))


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(str(path) for path in paths[:NAMED]) + more
