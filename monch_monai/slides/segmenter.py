"""One slide, from file to folder of results."""

import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

import monch_monai
from monch_monai.data.density import lightening
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.inferers import NETWORK_MPP
from monch_monai.settings import flag, whole_number
from monch_monai.slides.geometry import Mpp, working_grid
from monch_monai.slides.given_nuclei import GivenNuclei
from monch_monai.slides.nuclei_table import FoundNuclei
from monch_monai.slides.pipeline import Pipeline, Seconds
from monch_monai.slides.plan import Plan
from monch_monai.slides.predictors import Predictor
from monch_monai.slides.reader import open_slide
from monch_monai.slides.reading import in_small
from monch_monai.slides.results import SUMMARY, write_results
from monch_monai.slides.segment import REGION, Region, margin_px
from monch_monai.slides.tiling import Lattice
from monch_monai.slides.tissue import Tissue, TissueFinder
from monch_monai.slides.work_folder import TILE, WorkFolder

logger = logging.getLogger(__name__)

ENDS = 1 << 20
"""Bytes at each end of a file by which a slide is known."""


class SlideSegmenter:
    """Segments whole slides, each into `OUTPUT_DIR/STEM`, which appears when it is whole.

    Until then everything is in the hidden folder `.STEM.partial` beside it, and an interrupted run goes on from there.

    Args:
        output_dir: folder for the slides' folders.
        predictor: the network.
        tile_size: px of the working grid that the network sees at once.
        overlap: share of a tile that it shares with the next.
        batch_size: tiles at once.
        region_size: side of a region, working px, a multiple of 512: a matter of memory and speed, not of results.
        mpp: of the slides, µm per pixel of level 0, instead of what they say.
        tissue: whether to look only where there is tissue.
        tissue_threshold: as of `TissueFinder`.
        tissue_min_area_mm2: as of `TissueFinder`.
        separation_um: as of `WatershedNuclei`.
        min_area_um2: as of `WatershedNuclei`.
        reference_density: mean optical density of tissue, by channel, that darker slides are lightened to; None leaves
            all as they are.
        nuclei: GeoJSON file of another tool's nuclei, to be given classes instead of finding our own.
        gzip: whether GeoJSON is written as `nuclei.geojson.gz`.
        num_workers: threads that read ahead.
        nucleus_workers: processes that tell nuclei apart.
        sources: files that answers depend on, such as the checkpoint; None are left out.
        working_mpp: µm per pixel that the network was trained for.

    Attributes:
        seconds: where the time of the last slide went.

    Raises:
        InputError: a setting cannot be used.
    """

    def __init__(
        self,
        output_dir: str | Path,
        predictor: Predictor,
        tile_size: int = 256,
        overlap: float = 0.25,
        batch_size: int = 4,
        region_size: int = REGION,
        mpp: float | None = None,
        tissue: bool | str = True,
        tissue_threshold: float | None = None,
        tissue_min_area_mm2: float = 0.01,
        separation_um: float = 0.25,
        min_area_um2: float = 2.0,
        reference_density: Sequence[float] | None = None,
        nuclei: str | Path | None = None,
        gzip: bool | str = False,
        num_workers: int = 1,
        nucleus_workers: int = 1,
        sources: Sequence[str | Path | None] = (),
        working_mpp: float = NETWORK_MPP,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.lattice = Lattice(tile_size, overlap)
        self.pipeline = Pipeline(predictor, self.lattice, batch_size, num_workers, nucleus_workers)
        self.side = whole_number("region_size", region_size, least=TILE)
        if self.side % TILE:
            raise InputError(f"region_size is {region_size}; give a multiple of {TILE}")
        self.mpp = None if mpp is None else Mpp(mpp, mpp)
        self.tissue = TissueFinder(tissue_threshold, tissue_min_area_mm2) if flag("tissue", tissue) else None
        self.find = FoundNuclei(separation_um, min_area_um2) if nuclei is None else GivenNuclei.read(nuclei)
        self.reference_density = reference_density
        self.gzip = flag("gzip", gzip)
        self.working_mpp = working_mpp
        self.seconds = Seconds()
        self.settings = {
            "version": monch_monai.__version__,
            "tile_size": tile_size,
            "overlap": overlap,
            "region_size": region_size,
            "mpp": mpp,
            "working_mpp": working_mpp,
            "tissue": None if self.tissue is None else [tissue_threshold, tissue_min_area_mm2],
            "nucleus_separation_um": separation_um,
            "nucleus_min_area_um2": min_area_um2,
            "reference_density": reference_density,
            "nuclei": None if nuclei is None else sha256(Path(nuclei)),
            "gzip": self.gzip,
            "predictor": getattr(predictor, "settings", None),
            "sources": [sha256(Path(path)) for path in sources if path is not None],
        }

    def __enter__(self) -> "SlideSegmenter":
        """Starts the workers."""
        self.pipeline.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the workers."""
        self.pipeline.__exit__(*exception)

    def plan(self, path: Path) -> Plan:
        """What is to be done of a slide.

        Raises:
            InputError: it cannot be read, or says nothing of its mpp.
        """
        slide = open_slide(path, None if self.mpp is None else self.mpp.x)
        grid = working_grid(slide.size, slide.resolution, slide.downsamples, self.working_mpp)
        small = in_small(slide, grid) if self.tissue or self.reference_density else None
        tissue = Tissue.everywhere(grid) if self.tissue is None or small is None else self.tissue(small, grid)
        if isinstance(self.find, GivenNuclei):
            tissue = tissue.joined(self.find.boxes(grid))
        factors = lightening(small, self.reference_density)
        grown = tissue.grown(margin_px(grid))
        return Plan(slide, factors, slide.resolution, grid, tissue, grown, self.lattice, self.side)

    def __call__(self, path: Path) -> dict[str, Any]:
        """Segments a slide, unless that is done; returns what `summary.json` says.

        Raises:
            InputError: it cannot be read, its folder holds results of other settings, or the disk is full.
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
                    if target.exists():  # made since we looked
                        return _earlier(target, settings)
                    return self._segment(path, target, work, settings)
                finally:
                    Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(f"{path} is being segmented by another process into {target}: wait for it") from error
        except OSError as error:
            raise InputError(
                f"{target} cannot be written ({error.strerror or error}): make room and run again, it will go on"
            ) from error

    def _segment(self, path: Path, target: Path, work: WorkFolder, settings: dict[str, Any]) -> dict[str, Any]:
        plan = self.plan(path)
        if min(plan.lightening) < 1:
            factors = ", ".join(f"{factor:.2f}" for factor in plan.lightening)
            logger.info("%s: lightened for the network, optical density times %s (R, G, B)", path.name, factors)
        try:
            if work.open(settings):
                logger.info("%s: going on where an earlier run ended", path.name)
            self.seconds = seconds = self._run(plan, work)
            result = work.path / "result"
            shutil.rmtree(result, ignore_errors=True)
            result.mkdir()
            start = time.perf_counter()
            summary = write_results(result, plan, work, self.find, self.gzip, settings)
            result.rename(target)
            work.remove()
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

            return self.pipeline.run(plan.seen, plan.grid, plan.tissue, todo, self.find, work, report)


def stem(path: Path) -> str:
    """Name of a slide's results: its own without suffix."""
    return path.name if path.is_dir() else path.stem


def fingerprint(path: Path) -> str:
    """SHA-256 over the size and both ends of a slide's file, or of each file in its folder: slides are too large to
    read whole, and differ there.

    Raises:
        InputError: it cannot be read.
    """
    told = hashlib.sha256()
    try:
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            size = file.stat().st_size
            told.update(f"{size} ".encode())
            with file.open("rb") as opened:
                told.update(opened.read(ENDS))
                opened.seek(max(ENDS, size - ENDS))
                told.update(opened.read(ENDS))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): replace or remove it") from error
    return told.hexdigest()


def _earlier(target: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Summary of a slide that is done.

    Raises:
        InputError: with other settings, or the folder is something else.
    """
    file = target / SUMMARY
    if not file.is_file():
        raise InputError(f"{target} is there and is no slide's results: give another --output_dir")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    earlier = summary.get("settings", {})
    changed = [name for name in {**settings, **earlier} if earlier.get(name) != settings.get(name)]
    if changed:
        raise InputError(f"{target} was made with another {changed[0]}: remove it or give another --output_dir")
    logger.info("%s is done already", target)
    return summary
