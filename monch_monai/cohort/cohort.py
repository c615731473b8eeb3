"""All slides of a folder: each on its own, so that a broken one stops none of the others."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from monch_monai.cohort.claims import LIMIT_S
from monch_monai.cohort.cohort_table import CohortTable
from monch_monai.cohort.estimate import estimate
from monch_monai.cohort.results import THUMBNAIL_FILE
from monch_monai.cohort.segmenter import SlideSegmenter
from monch_monai.cohort.slide_file import fingerprint, printable, result_name
from monch_monai.cohort.slide_search import find_slides
from monch_monai.errors import InputError, one_line
from monch_monai.settings import flag, number
from monch_monai.writers import log_view

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The outcome of a slide: its summary, or the reason why it has none."""

    slide: Path
    summary: dict[str, Any] | None
    error: str | None


Engine = Callable[[list[Path], SlideSegmenter], Iterable[Outcome]]
"""Segments slides, in any order."""


def one_after_another(slides: list[Path], segmenter: SlideSegmenter) -> Iterator[Outcome]:
    """Segments slides in this process: those that other workers are at when the rest is done."""
    with segmenter:
        others = []
        for slide in slides:
            outcome = segment_slide(slide, segmenter, joins=False)
            if outcome.summary is None and outcome.error is None:
                others.append(slide)
            else:
                yield outcome
        for slide in others:
            yield segment_slide(slide, segmenter)


def segment_slide(slide: Path, segmenter: SlideSegmenter, joins: bool = True) -> Outcome:
    """Segments a slide; whatever goes wrong is in the outcome. Without `joins` that is empty while others are at it."""
    try:
        return Outcome(slide, segmenter(slide, joins), None)
    except InputError as error:
        name = printable(slide.name)
        logger.error("%s", error if name in str(error) else f"{name}: {error}")
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
        recursive: whether slides of subfolders count; their results are in subfolders of the same names.
        workers_share: whether other processes, on this machine or on others with the same disk, may segment the same
            slides into the same folder at the same time.
        claim_limit_s: seconds without a sign of life after which another of these counts as dead.

    Attributes:
        slides: paths.
        fingerprint: SHA-256 over names and fingerprints.

    Raises:
        InputError: the folder has no slide, two slides would write the same folder, nuclei are given for several, or
            a setting is of another kind or out of bounds.
    """

    def __init__(
        self,
        dataset_dir: str | Path | None,
        output_dir: str | Path,
        segmenter: SlideSegmenter,
        engine: Engine | None = None,
        dry_run: bool | str = False,
        recursive: bool | str = False,
        workers_share: bool | str = False,
        claim_limit_s: float = LIMIT_S,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.slides = find_slides(dataset_dir, flag("recursive", recursive), self.output_dir)
        if segmenter.finder.originals is not None and len(self.slides) > 1:
            raise InputError(f"nuclei are of one slide, and there are {len(self.slides)}: give one as --dataset_dir")
        self.segmenter = segmenter
        segmenter.dataset_dir = self.source = Path(str(dataset_dir))
        limit = number("claim_limit_s", claim_limit_s, least=1, most=86_400, unit="seconds, ")
        segmenter.claim_limit_s = limit if flag("workers_share", workers_share) else None
        self.engine = engine if engine is not None else one_after_another
        self.dry_run = flag("dry_run", dry_run)
        self.segmented: list[Path] = []
        contents = [(self._name(slide), _fingerprint(slide)) for slide in self.slides]
        self.fingerprint = hashlib.sha256(repr(contents).encode()).hexdigest()

    def run(self) -> None:
        """Segments all slides, and writes `cohort.csv` as they are done.

        Raises:
            InputError: at the end, naming the slides that failed, and the reason where all failed for the same; or
                `cohort.csv` cannot be written.
        """
        errors: dict[str, str] = {}
        table = CohortTable(self.output_dir, self.segmenter.class_table)
        work = self._estimates() if self.dry_run else self.engine(self.slides, self.segmenter)
        count = 0
        for count, outcome in enumerate(work, start=1):
            if outcome.summary:
                self.segmented.append(outcome.slide)
            if outcome.error is not None:
                errors[self._name(outcome.slide)] = outcome.error
            if not self.dry_run:
                table.write(errors, whole=count == len(self.slides))
        if not self.dry_run:
            logger.info("%d slides segmented; cohort.csv is in %s", count - len(errors), self.output_dir)
            if others := table.made_otherwise(self.segmenter.settings):
                logger.warning("cohort.csv holds slides segmented with other settings, such as %s", others[0])
        if errors:
            cause, *more = dict.fromkeys(errors.values())
            found = cause if not more and len(errors) == count else "see above"
            failed = ", ".join(map(printable, sorted(errors)))
            self.finish()
            raise InputError(f"{len(errors)} of {count} slides have no result: {failed}; {found}")

    def finish(self) -> None:
        """Logs the overview picture of a slide, and how to look at the results; the last step where no slide failed."""
        if self.segmented:
            folder = self.output_dir / result_name(self.segmented[0], self.source)
            log_view(self.segmenter.wanted.formats, self.output_dir, folder / THUMBNAIL_FILE)

    def _name(self, slide: Path) -> str:
        """Path of a slide within the cohort's folder."""
        within = slide != self.source and slide.is_relative_to(self.source)
        return slide.relative_to(self.source).as_posix() if within else slide.name

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


def _fingerprint(slide: Path) -> str:
    """Fingerprint of a slide; one that cannot be read is reported when its turn comes."""
    try:
        return fingerprint(slide)
    except InputError:
        return "unreadable"
