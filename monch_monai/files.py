"""Files: written whole or not at all, and identified by their SHA-256."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from monch_monai.errors import InputError

PART = ".part-"
"""How the names of unfinished files begin."""


def write_atomically(path: str | Path, write: Callable[[str], object]) -> None:
    """Calls `write` with the name of a file beside `path`, and renames that file to `path`.

    So `path` is either whole or unchanged.
    """
    target = Path(path)
    suffix = ".nii.gz" if target.name.lower().endswith(".nii.gz") else target.suffix
    handle, part = tempfile.mkstemp(prefix=PART, suffix=suffix, dir=target.parent)
    os.close(handle)
    try:
        write(part)
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # as a file that `open` makes
        Path(part).replace(target)
    except BaseException:
        Path(part).unlink()
        raise


def write_text_atomically(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    write_atomically(path, lambda part: Path(part).write_text(text, encoding="utf-8", newline=""))


def refuse_twins(paths: Iterable[Path], result: Callable[[Path], str]) -> None:
    """Compares the names of what paths are turned into.

    Raises:
        InputError: two paths have the same `result`.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        twin = seen.setdefault(result(path), path)
        if twin is not path:
            raise InputError(f"{twin.name} and {path.name} would both write {result(path)}: rename one")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
