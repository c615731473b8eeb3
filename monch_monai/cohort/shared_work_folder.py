"""A slide's work folder that many processes fill together, each its own regions."""

import errno
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import Timeout
from numpy.typing import NDArray

from monch_monai.cohort.claims import Claims
from monch_monai.cohort.locks import locked
from monch_monai.cohort.work_folder import SETTINGS, WorkFolder
from monch_monai.errors import InputError
from monch_monai.files import write_text_atomically
from monch_monai.geometry import WorkingBox

logger = logging.getLogger(__name__)

WRITTEN = "written.json"
JOINING_S = 20
"""How long a worker tries to join while others join."""


class SharedWorkFolder(WorkFolder):
    """A work folder in which each region is claimed before it is segmented (`monch_monai.cohort.claims`).

    Claims lie beside the regions: making one there has NFS look again at what is finished. Each region's files are the
    same whoever makes them and appear whole, so a worker that was taken for dead and comes back does no harm.

    Args:
        path: of the folder.
        limit_s: seconds without a sign of life after which a worker's claims are taken over.
        written: settings that change only what is written of finished regions. Workers agree on them, since any may
            write; another run may have others and resumes.
    """

    def __init__(self, path: Path, limit_s: float, written: Mapping[str, Any] | None = None) -> None:
        super().__init__(path)
        self.written = json.dumps(written)
        self.claims = Claims(self.regions, limit_s)
        self.result = path / f"result-{self.claims.worker}"

    @contextmanager
    def held(self, lock: Path, settings: dict[str, Any]) -> Iterator[bool]:
        """Opens the folder beside other workers of the same settings; yields whether some of the work is done.

        Raises:
            InputError: a process that does not share is at the slide, or workers of other settings.
        """
        try:
            with locked(lock, JOINING_S):
                resumes = self._open(self._text(settings))
                self.claims.__enter__()
        except Timeout as error:
            problem = f"{settings['slide'][0]} is being segmented by a process that does not share"
            raise InputError(f"{problem}: wait for it, or start all with --workers_share true") from error
        try:
            yield resumes
        finally:
            self.claims.__exit__()

    def others(self) -> list[str]:
        """Other workers that are at the slide."""
        return self.claims.others() if self.regions.is_dir() else []

    def takes(self, core: WorkingBox) -> bool:
        """Claims a region; returns whether it is this process's to segment."""
        if self.is_finished(core) or not self.claims.take(_name(core)):
            return False
        if self.is_finished(core):  # by a worker that took itself for alive
            self.finish(core)
            return False
        return True

    def keep(self, core: WorkingBox, class_map: NDArray[Any], nuclei: pa.Table) -> None:
        """Keeps a region, as `WorkFolder.keep`, unless another worker has taken it over."""
        if self.claims.owns(_name(core)):
            super().keep(core, class_map, nuclei)

    def finish(self, core: WorkingBox) -> None:
        """Ends the signs of life of a region's claim."""
        self.claims.finish(_name(core))

    def wait(self, cores: list[WorkingBox]) -> bool:
        """Waits until every region is finished, or one can be claimed; returns whether one can."""
        waits = False
        while left := [core for core in cores if not self.is_finished(core)]:
            if any(self.claims.is_free(_name(core)) for core in left):
                return True
            if not waits:
                logger.info("waiting for %d regions of other workers (%s)", len(left), "; ".join(self.others()))
            waits = True
            self._sleep()
        return False

    def wait_to_write(self, target: Path) -> bool:
        """Waits until the slide is written, or this process can claim to; returns whether it is to write."""
        waits = False
        while not target.exists():
            if self.claims.take("result"):
                return not target.exists()
            if not waits:
                logger.info("waiting for another worker, which writes %s", target)
            waits = True
            self._sleep()
        return False

    def give_up(self, useless: bool) -> None:
        """Removes the folder after an error, where no other worker is at it and it holds nothing of use."""
        if not self.others():
            super().give_up(useless)

    def remove(self) -> None:
        """Removes the folder as far as others let it; the last one removes the rest."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _open(self, text: str) -> bool:
        others = self.others()
        if not others and self._is_of(text):
            resumes = super()._open(text)
            write_text_atomically(self.path / WRITTEN, self.written)
            return resumes
        if not others:
            self.remove()
            self._make(text)
        if not (self._is_of(text) and self._has(WRITTEN, self.written)):
            whose = "; ".join(others)
            raise InputError(f"{self.path} is filled with other settings ({whose}): wait for it, or give the same")
        if others:
            logger.info("joining other workers (%s)", "; ".join(others))
        return False

    def _make(self, text: str) -> None:
        """Makes the folder, whole, unless another worker does in the meantime."""
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self.path.parent))
        try:
            made.chmod(self.path.parent.stat().st_mode & 0o777)  # other accounts may work here too
            (made / "regions").mkdir()
            write_text_atomically(made / SETTINGS, text)
            write_text_atomically(made / WRITTEN, self.written)
            made.rename(self.path)
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise

    def _sleep(self) -> None:
        time.sleep(min(1.0, self.claims.limit_s / 10))


def _name(core: WorkingBox) -> str:
    return f"{core.y}_{core.x}"
