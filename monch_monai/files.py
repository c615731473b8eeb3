"""Files: written whole or not at all, and identified by their SHA-256."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from monch_monai.errors import InputError, one_line

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


def existing_file(what: str, path: str | Path, remedy: str) -> Path:
    """`path`, which is a file.

    Args:
        what: the file's name in messages.
        path: to look for.
        remedy: what to do where it is no file.

    Raises:
        InputError: `path` does not exist, is a folder, or cannot be looked for.
    """
    file = Path(path)
    try:
        found = "is a folder" if file.is_dir() else "does not exist" if not file.is_file() else None
    except OSError as error:
        found = f"cannot be read ({error.strerror or error})"
    if found is not None:
        raise InputError(f"{what} {found}: {remedy}")
    return file


def refuse_damaged_zip(what: str, path: str | Path) -> None:
    """Compares the parts of a zip, such as PyTorch's files are, with their CRC-32, which `torch.load` does not.

    A file that is no zip passes, and so does one whose CRC-32 are all 0: PyTorch can leave them out.

    Args:
        what: the file's name in messages.
        path: of the file.

    Raises:
        InputError: a part is not what was written.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            written = any(part.CRC for part in archive.infolist())
            damaged = archive.testzip() if written else None
    except Exception as error:  # zipfile's errors on damaged headers have no common base
        raise InputError(f"{what} is damaged ({one_line(error)}): copy or download it again") from error
    if damaged is not None:
        raise InputError(f"{what} is damaged in its part {damaged.partition('/')[2]}: copy or download it again")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
