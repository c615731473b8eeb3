"""Slides as Ray tasks, on this machine or a cluster (the optional extra `ray`)."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import monch_monai
from monch_monai.cohort.cohort import Outcome, segment_slide
from monch_monai.cohort.segmenter import SlideSegmenter
from monch_monai.errors import InputError
from monch_monai.settings import number, whole_number, word

logger = logging.getLogger(__name__)


class RayEngine:
    """Runs each slide as a Ray task. A task whose worker dies is run again, from what was finished. Where workers share
    slides, tasks without a slide of their own help with those of others.

    Nodes of a cluster need this package, and the slides and results at the same paths. Within a task nuclei are found
    in its own process: parallel work is that of slides beside each other.

    Args:
        address: of a cluster (`auto`, `ray://…`); None starts Ray on this machine.
        num_cpus: cores that a slide takes.
        num_gpus: GPUs that a slide takes; 0.5 lets two share one.
        retries: how often a slide is tried again whose worker died.
        workers: cores of the machine to use, where Ray is started here; all of them when None.

    Raises:
        InputError: Ray is not installed, or a number is negative, or not whole where cores or tries are counted.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: int = 1,
        num_gpus: float = 0,
        retries: int = 2,
        workers: int | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError("cohort_engine ray needs Ray: pip install ray, or --cohort_engine local") from error
        self.ray: Any = ray
        self.address, self.workers = address, workers
        self.options = {
            "num_cpus": whole_number("num_cpus", num_cpus, least=1),
            "num_gpus": number("num_gpus", num_gpus, least=0),
            "max_retries": whole_number("retries", retries, least=0),
        }

    def __call__(self, slides: list[Path], segmenter: SlideSegmenter) -> Iterator[Outcome]:
        """Outcomes in the order in which slides are done.

        Raises:
            InputError: the network's device is a GPU and tasks take none, or the other way round.
        """
        ray = self.ray
        device = str(getattr(segmenter.pipeline.predictor, "device", "cpu"))
        if device.startswith("cuda") != (self.options["num_gpus"] > 0):
            gpus = f"{self.options['num_gpus']:g}"
            raise InputError(f"device is {device} and num_gpus {gpus}: give --device cuda with GPUs, cpu without")
        segmenter.pipeline.workers = replace(segmenter.pipeline.workers, nucleus_workers=0)
        ours = {"PYTHONPATH": str(Path(monch_monai.__file__).parents[1])}
        local = {} if self.address is not None else {"num_cpus": self.workers, "include_dashboard": False}
        ray.init(self.address, runtime_env={"env_vars": ours}, log_to_driver=True, **local)
        try:
            shared = ray.put(segmenter)
            task = ray.remote(**self.options)(_segment)
            pending = {task.remote(slide, shared): slide for slide in slides}
            most = self._tasks_at_once() if segmenter.claim_limit_s is not None else 0
            failed: dict[Path, Outcome] = {}
            left = set(slides)
            while left:
                working = Counter(pending.values())
                helped = [slide for slide in slides if slide in left and slide not in failed]
                for _ in range(max(0, most - len(pending)) if helped else 0):
                    slide = min(helped, key=lambda slide: working[slide])
                    working[slide] += 1
                    pending[task.remote(slide, shared)] = slide
                (done, *_), _ = ray.wait(list(pending), num_returns=1)
                slide = pending.pop(done)
                outcome = self._outcome(slide, done)
                if outcome.error is not None:
                    failed[slide] = outcome
                if slide in left and (outcome.error is None or slide not in pending.values()):
                    left.remove(slide)
                    yield outcome
        finally:
            ray.shutdown()

    def _tasks_at_once(self) -> int:
        """How many tasks the machines have room for."""
        room = self.ray.cluster_resources()
        needed = {"CPU": self.options["num_cpus"], "GPU": self.options["num_gpus"]}
        return min(int(room.get(name, 0) // number) for name, number in needed.items() if number)

    def _outcome(self, slide: Path, done: Any) -> Outcome:
        """The outcome of a task that ended, in whatever way."""
        errors = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(done)
        except errors.RayTaskError as error:  # raised by the task, not the death of its worker
            reason = (str(error.cause).splitlines() or [type(error.cause).__name__])[0]
            logger.error("%s: %s", slide, reason)
            return Outcome(slide, None, reason)
        except errors.RayError as error:  # its worker died once too often
            logger.error("%s: %s", slide, type(error).__name__)
            return Outcome(slide, None, f"{type(error).__name__}: its worker died; run again to resume")
        return outcome


def _segment(slide: Path, segmenter: SlideSegmenter) -> Outcome:
    with segmenter:
        return segment_slide(slide, segmenter)


def engine(name: str = "local", **ray: Any) -> RayEngine | None:
    """`local` goes through slides one after another; `ray` is a `RayEngine` of these arguments.

    Raises:
        InputError: it is neither.
    """
    return RayEngine(**ray) if word("cohort_engine", name, ("local", "ray")) == "ray" else None
