"""One slide, from file to folder of results."""

import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

import monch_monai
from monch_monai.class_table import ClassTable
from monch_monai.cohort.results import SUMMARY, Wanted, write_results
from monch_monai.cohort.slide_file import fingerprint, stem
from monch_monai.cohort.work_folder import WorkFolder
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.geometry import Mpp
from monch_monai.predict import NaNError, Predictor, Tiling
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
        seconds: where the time of the last slide went.

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
        self.settings = {
            "version": monch_monai.__version__,
            "tile_size": self.tiling.tile_size,
            "overlap": self.tiling.overlap,
            "region_size": self.side,
            "mpp": mpp,
            "tissue": None if tissue is None else [tissue.threshold, tissue.min_area_mm2],
            "nuclei": self.finder.settings,
            "reference_density": reference_density,
            **self.wanted.settings,
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
            tissue = tissue.joined(self.finder.added_tissue(grid))
            searched = tissue.grown(margin_px(grid))
            unless_planned.pop_all()
        return Plan(slide, factors, grid, tissue, searched, self.tiling.over(grid.box), self.side)

    def __call__(self, path: Path) -> dict[str, Any]:
        """Segments a slide, unless that is done; returns the content of `summary.json`.

        Raises:
            InputError: the slide cannot be read, its folder holds results of other settings, or the disk is full.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        target, work = self.output_dir / stem(path), WorkFolder(self.output_dir / f".{stem(path)}.partial")
        settings = {**self.settings, "slide": [path.name, fingerprint(path)]}
        if target.exists():
            return _earlier(target, settings)
        lock = FileLock(self.output_dir / f".{stem(path)}.lock")
        try:
            with lock.acquire(timeout=0):
                try:
                    if target.exists():  # made in the meantime
                        return _earlier(target, settings)
                    return self._segment(path, target, work, settings)
                finally:
                    Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(f"{path} is being segmented by another process into {target}: wait for it") from error
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{target} cannot be written ({reason}): make room and run again to resume") from error

    def _segment(self, path: Path, target: Path, work: WorkFolder, settings: dict[str, Any]) -> dict[str, Any]:
        plan = self.plan(path)
        if min(plan.lightening) < 1:
            factors = ", ".join(f"{factor:.2f}" for factor in plan.lightening)
            logger.info("%s: lightened for the network, optical density times %s (R, G, B)", path.name, factors)
        try:
            if work.open({name: value for name, value in settings.items() if name not in self.wanted.settings}):
                logger.info("%s: resuming where an earlier run ended", path.name)
            self.seconds = seconds = self._run(plan, work)
            result = work.path / "result"
            shutil.rmtree(result, ignore_errors=True)
            result.mkdir()
            start = time.perf_counter()
            summary = write_results(result, plan, work, self.finder, self.class_table, self.wanted, settings)
            result.rename(target)
            work.remove()
        except InputError as error:
            if isinstance(error, NaNError) or not work.has_finished():
                work.remove()  # nothing in it is of use to another run
            raise
        finally:
            plan.slide.close()
        total = seconds.reading + seconds.network + seconds.nuclei or 1.0
        parts = {name: getattr(seconds, name) / total for name in ("reading", "network", "nuclei")}
        logger.info(
            "%s: %d nuclei in %.2f mm² of tissue, %.0f s (of the work: %s) and %.0f s to write %s",
            path.name, summary["nuclei_total"], summary["tissue_mm2"], seconds.wall,
            ", ".join(f"{name} {share:.0%}" for name, share in parts.items()), time.perf_counter() - start, target,
        )  # fmt: skip
        return summary

    def _run(self, plan: Plan, work: WorkFolder) -> Seconds:
        done = sum(plan.own_cells(region) for region in plan.regions() if work.is_finished(region.core))
        total = sum(plan.own_cells(region) for region in plan.regions())
        todo = (region for region in plan.regions() if not work.is_finished(region.core))
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
                    bar.set_postfix(nuclei=nuclei, refresh=False)

            return self.pipeline.run(plan, todo, self.finder, work, report)


def _earlier(target: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Summary of a slide that is done.

    Raises:
        InputError: the slide was segmented with other settings, or the folder holds no slide's results.
    """
    file = target / SUMMARY
    if not file.is_file():
        raise InputError(f"{target} exists and is no slide's results: give another --output_dir")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    earlier = summary.get("settings", {})
    changed = [name for name in {**settings, **earlier} if earlier.get(name) != settings.get(name)]
    if changed:
        raise InputError(f"{target} was made with another {changed[0]}: remove it or give another --output_dir")
    logger.info("%s is done already", target)
    return summary
