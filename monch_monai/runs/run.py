"""The start of a run."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock
from monai.utils import set_determinism

from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.files import PART, remove
from monch_monai.handlers.checkpoints import BEST, HISTORY, LAST, STATE
from monch_monai.runs.command_line import CommandLine
from monch_monai.runs.folder_lock import lock
from monch_monai.runs.processes import RECORD, Processes
from monch_monai.runs.rules import check_settings
from monch_monai.settings import text

LOG = "log.txt"
TRAINING_FILES = (RECORD, LOG, BEST, LAST, STATE, HISTORY, "overlays", "tensorboard")
EVALUATION_FILES = ("scores.json", "nuclei.json", "calibration.json", "inference_time.json", "report.html")

logger = logging.getLogger(__name__)


class Run:
    """One run: `start` checks its settings and seeds all generators, `open` makes its folder and its log.

    Nothing is written before `open`, so a run that is refused leaves everything as it was. A training that is not
    resumed moves the files of an earlier one in its folder to `earlier/`; nothing is overwritten. Of several processes
    the first alone has a folder and a log.

    Args:
        kind: `training`, `evaluation`, `inference`, `slides` or `export`.
        output_dir: folder of the run's results.
        settings: the settings by name, resolved, among them `seed`, `device` and, of a training, `resume`.
        processes: those that run together; None where this one runs alone.
        earlier: arguments of versions before 0.2.0, which are refused.

    Attributes:
        settings: as given; after `start` checked, flags as bool.
        resume: whether the run resumes a training.
        seed: of all random generators.

    Raises:
        InputError: there are no `settings`, or arguments of a version before 0.2.0.
    """

    def __init__(
        self,
        kind: str,
        output_dir: str | Path,
        settings: Mapping[str, Any] | None = None,
        processes: Processes | None = None,
        **earlier: object,
    ) -> None:
        self.command_line = CommandLine.of_this_process()
        if settings is None or earlier:
            self._refuse("is of a version before 0.2.0: use this version's configs (CHANGELOG.md lists what moved)")
        self.kind, self.output_dir = kind, output_dir
        self.settings = dict(settings or {})
        self.processes = processes
        self.seed, self.resume = 0, False
        self.early_log: MemoryHandler | None = None
        self.lock: FileLock | None = None

    def start(self) -> None:
        """Checks the settings, seeds all random generators and keeps what is logged for the log file.

        Raises:
            InputError: a setting is against its rule (`monch_monai.runs.rules`), `torchrun` started several processes
                that would each run alone, or `resume` is true and the folder has no `training_state.pt`.
        """
        if not isinstance(self.output_dir, Path):
            self.output_dir = Path(text("output_dir", self.output_dir))
        self.settings = check_settings(self.kind, self.settings)
        self.seed, self.resume = self.settings.get("seed", 0), self.settings.get("resume", False)
        if self.processes is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            overlays = "multi_gpu_train.json or multi_gpu_evaluate.json"
            raise InputError(f"torchrun started several processes, and this config is for one: add {overlays}")
        state = self.output_dir / STATE
        if self.resume and not state.is_file():
            raise InputError(f"nothing to resume: {state} does not exist; leave --resume out to start anew")
        set_determinism(self.seed)
        self.early_log = MemoryHandler(capacity=10_000, flushOnClose=False)
        logging.getLogger().addHandler(self.early_log)

    def open(self) -> Path:
        """Makes the folder and opens `log.txt` in it, with all that was logged since `start`; returns the folder.

        A training or an evaluation locks its folder until it ends, however it ends.

        Raises:
            InputError: the run has not been started, another process trains or evaluates into the folder, or the folder
                cannot be written.
        """
        if self.early_log is None:
            self._refuse("does not start its run: begin its run list with $@start.start(), as train.json does")
        folder = Path(self.output_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.kind in ("training", "evaluation"):
                self.lock = lock(folder)
            if self.kind == "training" and not self.resume:
                _set_aside(folder)
            if self.kind == "evaluation":  # if this one breaks off, an earlier one's scores must not pass for its own
                for name in EVALUATION_FILES:
                    (folder / name).unlink(missing_ok=True)
            for part in [] if self.settings.get("workers_share") else folder.glob(f"{PART}*"):
                remove(part)  # of a run that was killed while it wrote, and none that writes beside this one
            log = LogFile(folder / LOG, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"output_dir {folder} cannot be written ({reason}): give another") from error
        log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.early_log.setTarget(log)
        self.early_log.flush()
        logging.getLogger().removeHandler(self.early_log)
        logging.getLogger().addHandler(log)
        return folder

    def _refuse(self, reason: str) -> NoReturn:
        """Refuses a config whose run list may be another version's, so that its errors are not in one line yet."""
        if self.command_line is not None:
            show_input_errors_in_one_line()
        files = "the config" if self.command_line is None else f"config {self.command_line.config_files}"
        raise InputError(f"{files} {reason}")


class LogFile(logging.FileHandler):
    """A log in a file. What the file cannot take, since the disk is full, is left out; stderr states why, once."""

    full = False

    def handleError(self, record: logging.LogRecord) -> None:
        """States once why the file cannot be written."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not self.full:
            self.full = True
            print(f"{self.baseFilename} cannot be written ({error.strerror or error})", file=sys.stderr)
        elif not isinstance(error, OSError):
            super().handleError(record)


def _set_aside(output_dir: Path) -> None:
    present = [output_dir / name for name in TRAINING_FILES if (output_dir / name).exists()]
    if not present:
        return
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    while (earlier := output_dir / "earlier" / name).exists():  # of the same second
        name += "_"
    earlier.mkdir(parents=True)
    for path in present:
        path.rename(earlier / path.name)
    logger.info("an earlier training was moved to %s", earlier)
