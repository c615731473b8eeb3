"""All slides of a folder: each on its own, so that a broken one stops none of the others."""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from monch_monai.class_table import ClassTable
from monch_monai.cohort.estimate import estimate
from monch_monai.cohort.segmenter import SlideSegmenter
from monch_monai.cohort.slide_file import fingerprint, stem
from monch_monai.errors import InputError, one_line
from monch_monai.files import refuse_twins, write_text_atomically
from monch_monai.settings import flag
from monch_monai.slides import SUFFIXES, is_dicom_folder

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The outcome of a slide: its summary, or the reason why it has none."""

    slide: Path
    summary: dict[str, Any] | None
    error: str | None


Engine = Callable[[list[Path], SlideSegmenter], Iterable[Outcome]]
"""Segments slides, in any order."""


def one_after_another(slides: list[Path], segmenter: SlideSegmenter) -> Iterator[Outcome]:
    """Segments slides in this process."""
    with segmenter:
        for slide in slides:
            yield segment_slide(slide, segmenter)


def segment_slide(slide: Path, segmenter: SlideSegmenter) -> Outcome:
    """Segments a slide; whatever goes wrong is in the outcome."""
    try:
        return Outcome(slide, segmenter(slide), None)
    except InputError as error:
        logger.error("%s", error if slide.name in str(error) else f"{slide.name}: {error}")
        return Outcome(slide, None, str(error))
    except Exception as error:  # of a library, on a file that its authors have not met
        logger.exception("%s could not be segmented", slide)
        return Outcome(slide, None, f"{type(error).__name__}: {one_line(error)}")


class Cohort:
    """A folder of slides, or one slide, into folders of results and `cohort.csv`.

    Args:
        dataset_dir: folder of slides (and of folders of DICOM files), or one slide.
        output_dir: folder of results.
        segmenter: segments a slide.
        engine: how slides are gone through; one after another when None.
        dry_run: only report what each slide will take.

    Attributes:
        slides: paths.
        fingerprint: SHA-256 over names and fingerprints.

    Raises:
        InputError: the folder has no slide, two slides would write the same folder, or nuclei are given for several.
    """

    def __init__(
        self,
        dataset_dir: str | Path | None,
        output_dir: str | Path,
        segmenter: SlideSegmenter,
        engine: Engine | None = None,
        dry_run: bool | str = False,
    ) -> None:
        self.slides = find_slides(dataset_dir)
        if segmenter.finder.originals is not None and len(self.slides) > 1:
            raise InputError(f"nuclei are of one slide, and there are {len(self.slides)}: give one as --dataset_dir")
        self.output_dir = Path(output_dir)
        self.segmenter = segmenter
        self.engine = engine if engine is not None else one_after_another
        self.dry_run = flag("dry_run", dry_run)
        contents = [(slide.name, _fingerprint(slide)) for slide in self.slides]
        self.fingerprint = hashlib.sha256(repr(contents).encode()).hexdigest()

    def run(self) -> None:
        """Segments all slides, and writes `cohort.csv` after each.

        Raises:
            InputError: at the end, naming the slides that failed, and the reason where all failed for the same.
        """
        outcomes: list[Outcome] = []
        work = self._estimates() if self.dry_run else self.engine(self.slides, self.segmenter)
        for outcome in work:
            outcomes.append(outcome)
            if not self.dry_run:
                write_cohort(self.output_dir / "cohort.csv", outcomes, self.segmenter.class_table)
        reasons = {outcome.slide.name: outcome.error for outcome in outcomes if outcome.error is not None}
        failed = sorted(reasons)
        if not self.dry_run:
            logger.info("%d slides segmented; cohort.csv is in %s", len(outcomes) - len(failed), self.output_dir)
        if failed:
            cause, *others = dict.fromkeys(reasons.values())
            found = cause if not others and len(failed) == len(outcomes) else "see above"
            raise InputError(f"{len(failed)} of {len(outcomes)} slides have no result: {', '.join(failed)}; {found}")

    def _estimates(self) -> Iterator[Outcome]:
        for slide in self.slides:
            try:
                plan = self.segmenter.plan(slide)
            except InputError as error:
                logger.error("%s", error)
                yield Outcome(slide, None, str(error))
            else:
                logger.info("%s", estimate(plan, self.segmenter.pipeline, self.segmenter.wanted))
                plan.slide.close()
                yield Outcome(slide, {}, None)


def find_slides(path: str | Path | None) -> list[Path]:
    """Slides of a folder (not of its subfolders, but those of DICOM files are slides), by name; or the one given.

    Raises:
        InputError: the path has no slide, or two slides would write the same folder.
    """
    if path is None:
        raise InputError("no slides given: give --dataset_dir, a folder of slides or one slide")
    source = Path(path)
    if not source.exists():
        raise InputError(f"dataset_dir {source} does not exist: give a folder of slides or one slide")
    if source.is_file() or is_dicom_folder(source):
        return [source]
    slides = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES or is_dicom_folder(p))
    if not slides:
        raise InputError(f"{source} holds no slide: give a folder with at least one of {', '.join(SUFFIXES)}")
    refuse_twins(slides, stem)
    return slides


def _fingerprint(slide: Path) -> str:
    """Fingerprint of a slide; one that cannot be read is reported when its turn comes."""
    try:
        return fingerprint(slide)
    except InputError:
        return "unreadable"


def write_cohort(path: Path, outcomes: Iterable[Outcome], class_table: ClassTable) -> None:
    """Writes a row a slide, by name: tissue, nuclei and density by class, ratios, or why it failed. Atomic."""
    names = [c.name for c in class_table.nuclei]
    ratios = ["neoplastic_share", "inflammatory_share", "tumour_infiltration"]
    text = io.StringIO()
    table = csv.writer(text)
    densities = [f"{name} per mm2" for name in names]
    table.writerow(["slide", "source_mpp", "working_mpp", "tissue_mm2", *names, *densities, *ratios, "error"])
    for slide, summary, error in sorted(outcomes, key=lambda outcome: outcome.slide.name):
        if summary is None:
            table.writerow([slide.name, *[""] * (3 + 2 * len(names) + len(ratios)), error])
        else:
            resolutions = [summary[name][0] for name in ("source_mpp", "working_mpp")]
            parts = [[summary[key][name] for name in names] for key in ("nuclei", "per_mm2")]
            shares = [summary["ratios"][name] for name in ratios]
            table.writerow([slide.name, *resolutions, summary["tissue_mm2"], *parts[0], *parts[1], *shares, ""])
    write_text_atomically(path, text.getvalue())
