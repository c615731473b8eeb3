"""Reading, network and nuclei at once: while the network is at one region, threads read the next and worker processes
find the nuclei of the last.
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
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.geometry import WorkingBox, WorkingGrid
from monch_monai.predict import Lattice, Prediction, Predictor, TileCache
from monch_monai.segmentation.finder import NucleusFinder
from monch_monai.segmentation.plan import Plan
from monch_monai.segmentation.regions import REGION, Region, margin_px, predict_region, read_tiles
from monch_monai.settings import whole_number
from monch_monai.slides import Slide, Tissue


@dataclass(frozen=True)
class Workers:
    """Settings of the work beside the network, and of how much is done at once.

    Args:
        num_workers: threads that read ahead, a region each; 0 reads in between.
        nucleus_workers: processes that find nuclei; 0 finds them in between.
        region_size: side of a region's core, working px: a matter of memory and speed, not of results.

    Raises:
        InputError: a number is not whole, or too small.
    """

    num_workers: int = 1
    nucleus_workers: int = 1
    region_size: int = REGION

    def __post_init__(self) -> None:
        """Refuses what is no number of workers."""
        whole_number("num_workers", self.num_workers, least=0)
        whole_number("nucleus_workers", self.nucleus_workers, least=0)
        whole_number("region_size", self.region_size, least=1)


class RegionStore(Protocol):
    """Keeps what is finished of a slide."""

    def keep(self, core: WorkingBox, class_map: NDArray[np.uint8], nuclei: pa.Table) -> None:
        """Keeps a region: the class map `[H, W]` of its core, and its nuclei."""

    def tile_cache(self) -> TileCache:
        """Keeps the predictions of tiles until the regions that need them are done."""


@dataclass
class Seconds:
    """Time spent in each part; they overlap, so the sum may be more than `wall`."""

    reading: float = 0.0
    network: float = 0.0
    nuclei: float = 0.0
    wall: float = 0.0


class Finished(NamedTuple):
    """A finished region: how many nuclei it has, and the seconds it took to find them."""

    nuclei: int
    seconds: float


class Pipeline:
    """Segments regions of slides. To be used in a `with`, which starts and ends the workers.

    Args:
        predictor: predicts tiles.
        workers: how many read and find nuclei beside it.
    """

    def __init__(self, predictor: Predictor, workers: Workers | None = None) -> None:
        self.predictor = predictor
        self.workers = workers if workers is not None else Workers()
        self.processes: ProcessPoolExecutor | None = None
        self.threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Pipeline":
        """Starts the workers."""
        if self.workers.nucleus_workers:
            # Forked before any of our threads or locks exists, the workers share PyTorch's pages and start at once.
            method = "fork" if "fork" in get_all_start_methods() else "spawn"
            self.processes = ProcessPoolExecutor(
                self.workers.nucleus_workers, get_context(method), initializer=_end_with, initargs=(os.getpid(),)
            )
            self.processes.submit(int).result()
        if self.workers.num_workers:
            self.threads = ThreadPoolExecutor(self.workers.num_workers)
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the workers."""
        for pool in (self.threads, self.processes):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        self.threads = self.processes = None

    def run(
        self,
        plan: Plan,
        regions: Iterable[Region],
        finder: NucleusFinder,
        store: RegionStore,
        report: Callable[[Region, int | None], None],
    ) -> Seconds:
        """Segments regions of the plan, in their order, and keeps each in the store.

        `report` is called with a region and None after the network, and with its number of nuclei when it is kept.

        Raises:
            InputError: the slide is damaged, or a worker was killed.
            OSError: the disk is full.
        """
        seconds, start = Seconds(), time.perf_counter()
        slide, grid, lattice = plan.lightened, plan.grid, plan.lattice
        cache, margin, todo = store.tile_cache(), margin_px(grid), iter(regions)
        reading: deque[tuple[Region, Future[tuple[NDArray[np.uint8], float]]]] = deque()
        finishing: deque[tuple[Region, Future[Finished]]] = deque()

        def read_ahead() -> None:
            while len(reading) < max(1, self.workers.num_workers) and (region := next(todo, None)) is not None:
                reading.append((region, _submit(self.threads, _read, slide, grid, lattice, region)))

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
                cache.drop_above(lattice, region.view.y)
                before = time.perf_counter()
                view = predict_region(pixels, region, lattice, self.predictor, margin, cache)
                seconds.network += time.perf_counter() - before
                report(region, None)
                job = (view, region, grid, plan.tissue.part(region.view), finder.part(region.core, grid), store)
                finishing.append((region, _submit(self.processes, _finish, *job)))
                collect(self.workers.nucleus_workers)
            collect(0)
        except BrokenProcessPool as error:
            self.__exit__()
            self.__enter__()  # for the next slide
            problem = f"{slide.name}: a process that finds nuclei was killed, perhaps for want of memory"
            remedy = "run again to resume, with a smaller --region_size or fewer --nucleus_workers"
            raise InputError(f"{problem}: {remedy}") from error
        finally:
            pending: list[Future[Any]] = [*(f for _, f in reading), *(f for _, f in finishing)]
            for one in pending:
                one.cancel()
            wait(pending)  # nothing of this slide runs when the next one begins
        seconds.wall = time.perf_counter() - start
        return seconds


def _read(slide: Slide, grid: WorkingGrid, lattice: Lattice, region: Region) -> tuple[NDArray[np.uint8], float]:
    start = time.perf_counter()
    return read_tiles(slide, grid, lattice, region.cells), time.perf_counter() - start


def _finish(
    view: Prediction, region: Region, grid: WorkingGrid, tissue: Tissue, finder: NucleusFinder, store: RegionStore
) -> Finished:
    start, core = time.perf_counter(), region.core
    nuclei = finder(view, region.view, core, grid)
    places = np.stack([nuclei["x"].to_numpy(), nuclei["y"].to_numpy()], axis=1) / grid.per_level0
    nuclei = nuclei.filter(tissue.holds(places))
    class_map = view.class_map[core.within(region.view)] * tissue.pixels(core)
    store.keep(core, class_map, nuclei)
    return Finished(nuclei.num_rows, time.perf_counter() - start)


def _submit(pool: Any, work: Callable[..., Any], *args: Any) -> Future[Any]:
    """Does work in a pool, or at once where there is none."""
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
    """Ends a worker when the process that made it was killed; the worker would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
