"""Reading, network and nuclei at once: while the network is at one region, threads read the next and worker processes
tell the nuclei of the last apart.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.settings import whole_number
from monch_monai.slides.geometry import Grid
from monch_monai.slides.nuclei_table import NucleusFinder
from monch_monai.slides.predictors import Predictor
from monch_monai.slides.reading import read_grid
from monch_monai.slides.segment import Region, margin_px, predict
from monch_monai.slides.slide import Slide
from monch_monai.slides.stitching import Prediction
from monch_monai.slides.tiling import Lattice
from monch_monai.slides.tissue import Tissue
from monch_monai.slides.work_folder import KeptAnswers, WorkFolder


@dataclass
class Seconds:
    """Time spent in each part; they overlap, so the sum may be more than `wall`."""

    reading: float = 0.0
    network: float = 0.0
    nuclei: float = 0.0
    wall: float = 0.0


class Finished(NamedTuple):
    """A region that is kept: how many nuclei it has, and the seconds it took to find them."""

    nuclei: int
    seconds: float


class Pipeline:
    """Segments regions of slides. To be used in a `with`, which starts and ends the workers.

    Args:
        predictor: the network.
        lattice: of the tiles.
        batch_size: tiles at once; the last batch of a region is filled up, so that no answer depends on its size.
        num_workers: threads that read ahead, a region each; 0 reads in between.
        nucleus_workers: processes that tell nuclei apart; 0 does it in between.

    Raises:
        InputError: a number is not one.
    """

    def __init__(
        self,
        predictor: Predictor,
        lattice: Lattice,
        batch_size: int = 4,
        num_workers: int = 1,
        nucleus_workers: int = 1,
    ) -> None:
        self.predictor, self.lattice = predictor, lattice
        self.batch_size = whole_number("sw_batch_size", batch_size, least=1)
        self.num_workers = whole_number("num_workers", num_workers, least=0)
        self.nucleus_workers = whole_number("nucleus_workers", nucleus_workers, least=0)
        self.processes: ProcessPoolExecutor | None = None
        self.threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Pipeline":
        """Starts the workers."""
        if self.nucleus_workers:
            # Forked before any of our threads or locks is there, the workers share PyTorch's pages and start at once.
            method = "fork" if "fork" in get_all_start_methods() else "spawn"
            self.processes = ProcessPoolExecutor(
                self.nucleus_workers, get_context(method), initializer=_end_with, initargs=(os.getpid(),)
            )
            self.processes.submit(int).result()
        if self.num_workers:
            self.threads = ThreadPoolExecutor(self.num_workers)
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the workers."""
        for pool in (self.threads, self.processes):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        self.threads = self.processes = None

    def run(
        self,
        slide: Slide,
        grid: Grid,
        tissue: Tissue,
        regions: Iterable[Region],
        find: NucleusFinder,
        work: WorkFolder,
        report: Callable[[Region, int | None], None],
    ) -> Seconds:
        """Segments regions, in their order, and keeps each in the folder.

        Args:
            slide: to read.
            grid: its working grid.
            tissue: where nuclei are reported.
            regions: those to do, row by row.
            find: makes nuclei.
            work: keeps what is finished.
            report: called with a region and None after the network, and with its number of nuclei when it is kept.

        Raises:
            InputError: the slide is damaged, or a worker was killed.
            OSError: the disk is full.
        """
        seconds, start = Seconds(), time.perf_counter()
        answers = KeptAnswers(work.path / "answers", self.lattice.step)
        margin, todo = margin_px(grid), iter(regions)
        reading: deque[tuple[Region, Future[tuple[NDArray[np.uint8], float]]]] = deque()
        finishing: deque[tuple[Region, Future[Finished]]] = deque()

        def read_ahead() -> None:
            while len(reading) < max(1, self.num_workers) and (region := next(todo, None)) is not None:
                reading.append((region, _submit(self.threads, _read, slide, grid, self.lattice, region)))

        def collect(most: int) -> None:
            while len(finishing) > most:
                region, future = finishing.popleft()
                done = future.result()
                seconds.nuclei += done.seconds
                report(region, done.nuclei)

        try:
            read_ahead()
            while reading:
                region, future = reading.popleft()
                pixels, took = future.result()
                seconds.reading += took
                read_ahead()
                answers.drop_above(region.view.y)
                before = time.perf_counter()
                view = predict(pixels, region, self.lattice, self.predictor, self.batch_size, margin, answers)
                seconds.network += time.perf_counter() - before
                report(region, None)
                mine = find.part(region.core, grid)
                job = (view, region.core, region.view, grid, tissue.part(region.view), mine, work)
                finishing.append((region, _submit(self.processes, _finish, *job)))
                collect(self.nucleus_workers)
            collect(0)
        except BrokenProcessPool as error:
            self.__exit__()
            self.__enter__()  # for the next slide
            raise InputError(
                f"{slide.name}: a process that tells nuclei apart was killed, perhaps for want of memory: run again to"
                " go on, with a smaller --region_size or fewer --nucleus_workers"
            ) from error
        finally:
            pending: list[Future[Any]] = [*(f for _, f in reading), *(f for _, f in finishing)]
            for one in pending:
                one.cancel()
            wait(pending)  # nothing of this slide is at work when the next one begins
        seconds.wall = time.perf_counter() - start
        return seconds


def _read(slide: Slide, grid: Grid, lattice: Lattice, region: Region) -> tuple[NDArray[np.uint8], float]:
    start = time.perf_counter()
    return read_grid(slide, grid, lattice.hull(region.cells)), time.perf_counter() - start


def _finish(
    view: Prediction, core: Any, view_box: Any, grid: Grid, tissue: Tissue, find: NucleusFinder, work: WorkFolder
) -> Finished:
    start = time.perf_counter()
    nuclei = find(view, view_box, core, grid)
    places = np.stack([nuclei["x"].to_numpy(), nuclei["y"].to_numpy()], axis=1) / grid.per_level0
    nuclei = nuclei.filter(tissue.holds(places))
    class_map = view.class_map[core.within(view_box)] * tissue.pixels(core)
    work.keep(core, class_map, nuclei)
    return Finished(nuclei.num_rows, time.perf_counter() - start)


def _submit(pool: Any, work: Callable[..., Any], *args: Any) -> Future[Any]:
    """The work in a pool; without one it is done at once."""
    if pool is not None:
        submitted: Future[Any] = pool.submit(work, *args)
        return submitted
    future: Future[Any] = Future()
    try:
        future.set_result(work(*args))
    except Exception as error:
        future.set_exception(error)
    return future


def _end_with(parent: int) -> None:
    """Lets a worker end when the process that made it was killed; it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
