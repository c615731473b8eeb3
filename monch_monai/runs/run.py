"""The start of a run."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from logging.handlers import MemoryHandler
from pathlib import Path
from types import MappingProxyType

import torch
from monai.utils import set_determinism

from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.files import PART
from monch_monai.handlers.checkpoints import BEST, HISTORY, LAST, STATE
from monch_monai.runs.command_line import CommandLine
from monch_monai.runs.processes import RECORD, Processes
from monch_monai.settings import factor_range, flag, fraction, whole_number

LOG = "log.txt"
TRAINING_FILES = (RECORD, LOG, BEST, LAST, STATE, HISTORY, "overlays", "tensorboard")
EVALUATION_FILES = ("scores.json", "nuclei.json", "calibration.json", "inference_time.json", "report.html")

logger = logging.getLogger(__name__)


class Run:
    """One run: its command line and device checked, everything seeded; then, by `open`, its folder and its log.

    Nothing is written before `open`, so a run that is refused leaves everything as it was. A training that is not
    resumed moves what an earlier one left in its folder to `earlier/`; nothing is overwritten. Of several processes the
    first alone has a folder and a log.

    Args:
        kind: `training`, `evaluation` or `inference`.
        output_dir: folder of the run's results.
        device: `cpu`, `cuda`, `cuda:1`, …
        seed: of all random generators.
        resume: whether a training goes on.
        counts: settings that must be whole numbers of at least 1, by name.
        fractions: settings that must be numbers from 0 to 1, by name.
        factor_ranges: settings that must be two numbers above 0, the smaller first, by name.
        processes: those that run together; None where this one runs alone.

    Raises:
        InputError: a setting is unknown or no usable number, the device is not there, there is nothing to resume, or
            several processes would each run alone.
    """

    def __init__(
        self,
        kind: str,
        output_dir: str | Path,
        device: str = "cpu",
        seed: int = 0,
        resume: bool | str = False,
        counts: Mapping[str, int] = MappingProxyType({}),
        fractions: Mapping[str, float] = MappingProxyType({}),
        factor_ranges: Mapping[str, Sequence[float]] = MappingProxyType({}),
        processes: Processes | None = None,
    ) -> None:
        self.kind = kind
        self.output_dir = Path(output_dir)
        self.resume = flag("resume", resume)
        self.command_line = CommandLine.of_this_process()
        if self.command_line is not None:
            show_input_errors_in_one_line()
            self.command_line.check()
        self.seed = whole_number("seed", seed, least=0)
        for name, value in counts.items():
            whole_number(name, value, least=1)
        for name, share in fractions.items():
            fraction(name, share)
        for name, limits in factor_ranges.items():
            factor_range(name, limits)
        check_device(device)
        if processes is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            overlays = "multi_gpu_train.json or multi_gpu_evaluate.json"
            raise InputError(f"torchrun started several processes, and this config is for one: add {overlays}")
        state = self.output_dir / STATE
        if self.resume and not state.is_file():
            raise InputError(f"there is nothing to resume: {state} does not exist; leave --resume out to start anew")
        set_determinism(seed)
        self.early_log = MemoryHandler(capacity=10_000, flushOnClose=False)
        logging.getLogger().addHandler(self.early_log)

    def open(self) -> None:
        """Makes the folder and opens `log.txt` in it, with what was logged so far.

        Raises:
            InputError: the folder cannot be written.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            if self.kind == "training" and not self.resume:
                _set_aside(self.output_dir)
            if self.kind == "evaluation":  # if this one breaks off, an earlier one's scores must not pass for its own
                for name in EVALUATION_FILES:
                    (self.output_dir / name).unlink(missing_ok=True)
            for part in self.output_dir.glob(f"{PART}*"):
                part.unlink()  # of a run that was killed while it wrote
            log = logging.FileHandler(self.output_dir / LOG, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"output_dir {self.output_dir} cannot be written ({reason}): give another") from error
        log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.early_log.setTarget(log)
        self.early_log.flush()
        logging.getLogger().removeHandler(self.early_log)
        logging.getLogger().addHandler(log)


def three_quarters(epochs: int) -> int:
    """Three quarters of a training's epochs, at least 1.

    Raises:
        InputError: `epochs` is not a whole number above 0.
    """
    return max(1, round(0.75 * whole_number("epochs", epochs, least=1)))


def check_device(device: str) -> None:
    """Refuses a device that is not to be had.

    Raises:
        InputError: it is not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used ({reason}): give --device cpu") from error


def _set_aside(output_dir: Path) -> None:
    present = [output_dir / name for name in TRAINING_FILES if (output_dir / name).exists()]
    if not present:
        return
    earlier = output_dir / "earlier" / time.strftime("%Y-%m-%d_%H-%M-%S")
    earlier.mkdir(parents=True)
    for path in present:
        path.rename(earlier / path.name)
    logger.info("an earlier training was moved to %s", earlier)
