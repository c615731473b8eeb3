"""One slide, from file to folder of results."""

import errno
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import astuple
from pathlib import Path
from typing import Any

from tqdm import tqdm

import monch_monai
from monch_monai.class_table import ClassTable
from monch_monai.cohort.results import Wanted, earlier_summary, write_results
from monch_monai.cohort.shared_work_folder import SharedWorkFolder
from monch_monai.cohort.slide_file import fingerprint, refuse_name, result_name
from monch_monai.cohort.work_folder import WorkFolder
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.geometry import Mpp
from monch_monai.predict import NaNError, NetworkPredictor, Predictor, Tiling
from monch_monai.segmentation import FoundNuclei, NucleusFinder, Pipeline, Plan, Region, Seconds, Workers, margin_px
from monch_monai.settings import multiple
from monch_monai.slides import grid_of, open_slide, tissue_and_lightening
from monch_monai.stain import TissueRule
from monch_monai.writers import TILE

logger = logging.getLogger(__name__)


class SlideSegmenter:
    """Segments whole slides, each into `OUTPUT_DIR/STEM`, which appears when it is whole.

    Until then everything is in the hidden folder `.STEM.partial` beside it, where an interrupted run resumes.

    Args:
        output_dir: folder for the slides' folders.
        predictor: predicts tiles.
        tiling: settings of the tiles.
        workers: what runs beside the network, on how much at once.
        tissue: finds the tissue, outside which nothing is segmented; None segments all of a slide. (None is the default
            because MONAI leaves out an argument whose component in a config is None.)
        finder: makes nuclei.
        reference_density: mean optical density of tissue, by channel, that darker slides are lightened to; None leaves
            all as they are.
        mpp: of the slides, µm per pixel of level 0, instead of what they state.
        wanted: which files are written; `wanted_results` makes it of settings.
        sources: files that predictions depend on, such as the checkpoint; None are left out.

    Attributes:
        settings: what slides are segmented with, without those of `wanted`.
        seconds: where the time of the last slide went.
        dataset_dir: folder of all slides; one from a folder within it has its results in a folder of that name.
        claim_limit_s: where other workers segment the same slides, the seconds after which one without a sign of life
            counts as dead; None where this process is alone.

    Raises:
        InputError: `workers.region_size` is no multiple of 512, or `mpp` no resolution.
    """

    def __init__(
        self,
        output_dir: str | Path,
        predictor: Predictor,
        tiling: Tiling | None = None,
        workers: Workers | None = None,
        tissue: TissueRule | None = None,
        finder: NucleusFinder | None = None,
        reference_density: Sequence[float] | None = None,
        mpp: float | None = None,
        wanted: Wanted | None = None,
        sources: Sequence[str | Path | None] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.tiling = tiling if tiling is not None else Tiling()
        self.pipeline = Pipeline(predictor, workers)
        self.side = multiple("region_size", self.pipeline.workers.region_size, TILE)
        self.tissue = tissue
        self.finder = finder if finder is not None else FoundNuclei()
        self.reference_density = reference_density
        self.mpp = None if mpp is None else Mpp(mpp, mpp).x
        self.wanted = wanted if wanted is not None else Wanted()
        self.seconds = Seconds()
        self.dataset_dir: Path | None = None
        self.claim_limit_s: float | None = None
        self.settings = {
            "version": monch_monai.__version__,
            "tile_size": self.tiling.tile_size,
            "overlap": self.tiling.overlap,
            "region_size": self.side,
            "mpp": mpp,
            "tissue": None if tissue is None else [tissue.threshold, tissue.min_area_mm2],
            "nuclei": self.finder.settings,
            "reference_density": reference_density,
            "predictor": getattr(predictor, "settings", None),
            "class_table": predictor.class_table.to_dict(),
            "sources": [sha256(Path(path)) for path in sources if path is not None],
        }

    def __enter__(self) -> "SlideSegmenter":
        """Starts the workers."""
        self.pipeline.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the workers."""
        self.pipeline.__exit__(*exception)

    @property
    def class_table(self) -> ClassTable:
        """The classes of the predictor."""
        return self.pipeline.predictor.class_table

    def plan(self, path: Path) -> Plan:
        """The slide, opened, and how it is cut up.

        Raises:
            InputError: the slide cannot be read, or its mpp is not known.
        """
        with ExitStack() as unless_planned:
            slide = unless_planned.enter_context(closing(open_slide(path, self.mpp)))
            grid = grid_of(slide)
            tissue, factors = tissue_and_lightening(slide, grid, self.reference_density, self.tissue)
            tissue = tissue.joined(self.finder.added_tissue(slide, grid))
            searched = tissue.grown(margin_px(grid))
            unless_planned.pop_all()
        return Plan(slide, factors, grid, tissue, searched, self.tiling.over(grid.box), self.side)

    def __call__(self, path: Path, joins: bool = True) -> dict[str, Any] | None:
        """Segments a slide, unless that is done; returns the content of `summary.json`.

        Args:
            path: of the slide.
            joins: whether to help other workers that are at the slide. If not, None is returned while they are.

        Raises:
            InputError: the slide cannot be read or its name not written, its folder holds results of other settings,
                or the disk is full.
        """
        name = result_name(path, self.dataset_dir)
        refuse_name(path, name)
        target = self.output_dir / name
        work: WorkFolder = WorkFolder(target.parent / f".{target.name}.partial")
        if self.claim_limit_s is not None:
            work = SharedWorkFolder(work.path, self.claim_limit_s, self.wanted.settings)
        settings = {**self.settings, "slide": [path.name, fingerprint(path)]}
        every = {**settings, **self.wanted.settings}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                return earlier_summary(target, every)
            if not joins and work.others():
                return None
            with work.held(target.parent / f".{target.name}.lock", settings) as resumes:
                if target.exists():  # made in the meantime
                    work.remove()
                    return earlier_summary(target, every)
                if resumes:
                    logger.info("%s: resuming where an earlier run ended", path.name)
                return self._segment(path, target, work, settings)
        except OSError as error:
            if self.claim_limit_s is not None and target.exists():  # by another worker, which removed the rest
                work.remove()
                return earlier_summary(target, every)
            raise InputError(f"{target} cannot be written ({error.strerror or error}): {_remedy(error)}") from error

    def _segment(self, path: Path, target: Path, work: WorkFolder, settings: dict[str, Any]) -> dict[str, Any]:
        with ExitStack() as opened:
            try:
                plan = self.plan(path)
                opened.callback(plan.slide.close)
                if min(plan.lightening) < 1:
                    factors = ", ".join(f"{factor:.2f}" for factor in plan.lightening)
                    logger.info("%s: lightened for the network, optical density times %s (R, G, B)", path.name, factors)
                if isinstance(self.pipeline.predictor, NetworkPredictor):
                    self.pipeline.predictor.expect(plan.tiles())
                self.seconds = seconds = self._run(plan, work)
                if not work.wait_to_write(target):
                    work.remove()
                    return earlier_summary(target, {**settings, **self.wanted.settings})
                start = time.perf_counter()
                shutil.rmtree(work.result, ignore_errors=True)
                work.result.mkdir()
                summary = write_results(work.result, plan, work, self.finder, self.class_table, self.wanted, settings)
                work.result.rename(target)
                work.remove()
            except InputError as error:
                work.give_up(useless=isinstance(error, NaNError))
                raise
        total = seconds.reading + seconds.network + seconds.nuclei or 1.0
        parts = {name: getattr(seconds, name) / total for name in ("reading", "network", "nuclei")}
        logger.info(
            "%s: %d nuclei in %.2f mm² of tissue, %.0f s (of the work: %s) and %.0f s to write %s",
            path.name, summary["nuclei_total"], summary["tissue_mm2"], seconds.wall,
            ", ".join(f"{name} {share:.0%}" for name, share in parts.items()), time.perf_counter() - start, target,
        )  # fmt: skip
        if not summary["nuclei_total"] and summary["tissue_mm2"]:
            message = "%s: no nucleus in %.2f mm² of tissue: see tissue.png; is it H&E, at %.4g µm/px (--mpp)?"
            logger.warning(message, path.name, summary["tissue_mm2"], plan.slide.resolution.mean)
        return summary

    def _run(self, plan: Plan, work: WorkFolder) -> Seconds:
        """Segments regions until all are finished, by this process or by others."""
        seconds = self._pass(plan, work)
        cores = [region.core for region in plan.regions()]
        while work.wait(cores):
            more = self._pass(plan, work)
            seconds = Seconds(*(a + b for a, b in zip(astuple(seconds), astuple(more), strict=True)))
        return seconds

    def _pass(self, plan: Plan, work: WorkFolder) -> Seconds:
        done = sum(plan.own_cells(region) for region in plan.regions() if work.is_finished(region.core))
        total = sum(plan.own_cells(region) for region in plan.regions())
        todo = (region for region in plan.regions() if work.takes(region.core))
        nuclei = 0
        interval = 0.5 if sys.stderr.isatty() else 15
        name = Path(plan.slide.name).name
        with tqdm(desc=name, total=total, initial=done, unit="tile", mininterval=interval) as bar:

            def report(region: Region, found: int | None) -> None:
                nonlocal nuclei
                if found is None:
                    bar.update(plan.own_cells(region))
                else:
                    nuclei += found
                    work.finish(region.core)
                    bar.set_postfix(nuclei=nuclei, refresh=False)

            return self.pipeline.run(plan, todo, self.finder, work, report)


def _remedy(error: OSError) -> str:
    """What to do about an error of writing."""
    if error.errno == errno.ENAMETOOLONG:
        return "give the slide a shorter name"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "give another --output_dir"
    return "make room and run again to resume"
