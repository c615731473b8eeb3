"""Claims: files by which processes of one machine, or of several with a shared disk, divide work."""

import json
import logging
import os
import platform
import threading
import uuid
from pathlib import Path
from typing import Any

from monch_monai.settings import number

logger = logging.getLogger(__name__)

LIMIT_S = 120.0
"""After so many seconds without a sign of life a worker counts as dead. NFS may hide one for 60 s."""
BEATS = 6
"""Signs of life within a limit."""


class Claims:
    """One worker's claims in a folder. To be used in a `with`, which joins the folder and at the end releases what is
    still held.

    The claim on NAME is the file `NAME.claim0`, made by `O_CREAT | O_EXCL`, of which one process succeeds, on NFS too
    (open(2)). A thread sets the time of its files again and again. A claim that has shown no sign of life for the limit
    it states is taken over by making `NAME.claim1` in the same way, and so on; the last one counts. No file of another
    worker is moved or removed, so two that take over at once cannot harm a claim made in between. A worker that lost a
    claim learns it by `owns`. Ages are by the disk's own clock, which sets all these times.

    Args:
        folder: where the files are.
        limit_s: seconds without a sign of life after which others take over.

    Raises:
        InputError: `limit_s` is no number from 1 to 86,400.
    """

    def __init__(self, folder: Path, limit_s: float = LIMIT_S) -> None:
        self.folder = folder
        self.limit_s = number("claim_limit_s", limit_s, least=1, most=86_400, unit="seconds, ")
        self.worker = uuid.uuid4().hex
        self.text = json.dumps(
            {"worker": self.worker, "host": platform.node(), "pid": os.getpid(), "limit_s": self.limit_s}
        )
        self.held: set[str] = set()
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process needs to ask `owns`."""
        return {name: getattr(self, name) for name in ("folder", "limit_s", "worker", "text")}

    def __enter__(self) -> "Claims":
        """Joins the folder, and starts the signs of life."""
        _create(self._presence, self.text)
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Releases every claim that is held, and leaves the folder."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
        for name in sorted(self.held):
            if self.owns(name):
                self._last(name).unlink(missing_ok=True)
        self.held.clear()
        self._presence.unlink(missing_ok=True)

    def take(self, name: str) -> bool:
        """Claims what nobody has, or a worker without a sign of life; returns whether it is ours.

        Raises:
            OSError: the folder is gone, or the disk is full.
        """
        last = self._last(name)
        dead, number = self._is_dead(last), int(last.suffix.removeprefix(".claim"))
        if dead is False:
            return self.owns(name)
        taken_over = dead is not None
        try:
            _create(self.folder / f"{name}.claim{number + taken_over}", self.text)
        except FileExistsError:
            return False  # another was quicker
        if taken_over:
            logger.info("%s: taken over from %s, without a sign of life", name, _whose(last))
        with self.lock:
            self.held.add(name)
        return True

    def owns(self, name: str) -> bool:
        """Whether the claim is this worker's, and was not taken over."""
        return _read(self._last(name)).get("worker") == self.worker

    def is_free(self, name: str) -> bool:
        """Whether nobody has the claim, or a worker without a sign of life."""
        return self._is_dead(self._last(name)) is not False

    def finish(self, name: str) -> None:
        """Ends the signs of life of a claim whose work is done; its file stays."""
        with self.lock:
            self.held.discard(name)

    def others(self) -> list[str]:
        """Other workers in the folder that show signs of life: host and process."""
        presences = [path for path in self.folder.glob("worker-*") if path != self._presence]
        return sorted(_whose(path) for path in presences if self._is_dead(path) is False)

    @property
    def _presence(self) -> Path:
        return self.folder / f"worker-{self.worker}"

    def _last(self, name: str) -> Path:
        """File of the claim that counts, or the first that would be made."""
        number = 0
        while (self.folder / f"{name}.claim{number + 1}").exists():
            number += 1
        return self.folder / f"{name}.claim{number}"

    def _is_dead(self, path: Path) -> bool | None:
        """Whether a claim showed no sign of life within its limit; None where it does not exist."""
        try:
            with path.open("rb") as file:  # opening makes NFS ask for the time anew
                beat = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        return bool(self._now() - beat > _read(path).get("limit_s", self.limit_s))

    def _now(self) -> float:
        """Time of the disk's clock, which may differ from this machine's."""
        probe = self.folder / f"clock-{uuid.uuid4().hex}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now

    def _live(self) -> None:
        while not self.ended.wait(self.limit_s / BEATS):
            with self.lock:
                held = sorted(self.held)
            for name in ("", *held):
                try:
                    self._beat(name)
                except OSError:  # the folder is gone, or the disk is away for a while
                    logger.debug("%s has no sign of life of %s", self.folder, name or "this worker")

    def _beat(self, name: str) -> None:
        """Gives a sign of life of a claim, or of this process where `name` is empty."""
        if not name:
            os.utime(self._presence)
        elif self.owns(name):
            os.utime(self._last(name))
        elif self.folder.is_dir():
            logger.warning("%s: taken over by %s", name, _whose(self._last(name)))
            self.finish(name)


def _create(path: Path, text: str) -> None:
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.write(file, text.encode())
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(file)


def _read(path: Path) -> dict[str, Any]:
    """Content of a claim; empty where its worker died before it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _whose(path: Path) -> str:
    content = _read(path)
    return f"{content.get('host', 'a worker')}, process {content.get('pid', 'unknown')}"
