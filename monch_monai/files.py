"""Files: written whole or not at all, tables and JSON too, and identified by their SHA-256."""

import csv
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monch_monai.errors import InputError, one_line

PART = ".part-"
"""How the names of unfinished files begin."""


def write_atomically(path: str | Path, write: Callable[[str], object]) -> None:
    """Calls `write` with the name of a file beside `path`, and renames that file to `path`.

    So `path` is either whole or unchanged.

    Raises:
        OSError: the disk is full, or the file may not be made or be so large.
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
    except BaseException as error:
        cause = _cause(error, part)
        Path(part).unlink()
        if cause is not None:
            raise OSError(cause.errno, cause.strerror, str(target)) from error
        raise


def replace_folder(path: Path, made: Path) -> None:
    """Renames the whole folder `made` to `path`, in the place of an earlier folder, which becomes `made`."""
    earlier = made.with_name(f"{made.name}-earlier")
    if path.is_dir():
        path.rename(earlier)
    made.rename(path)
    if earlier.is_dir():
        earlier.rename(made)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all in it, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _cause(error: BaseException, part: str) -> OSError | None:
    """What the system states where it keeps `part` from being written; of PyTorch, which does not, found by trying."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        return error
    if isinstance(error, RuntimeError) and ("PytorchStreamWriter" in str(error) or "inline_container" in str(error)):
        try:
            with Path(part).open("ab") as file:
                file.write(bytes(1 << 22))
        except OSError as found:
            return found
    return None


def write_text_atomically(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    write_atomically(path, lambda part: Path(part).write_text(text, encoding="utf-8", newline=""))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows as CSV; NaN, or a column that a row lacks, becomes an empty cell.

    Args:
        path: the file.
        rows: cells by column.
        columns: the first ones, also where no row has them; the others follow in the order of their first rows.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys([*columns, *(name for row in rows for name in row)])))
    table.writeheader()
    table.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)
    write_text_atomically(path, text.getvalue())


def write_json(path: Path, values: Any) -> None:
    """Writes JSON; NaN becomes null."""
    write_text_atomically(path, json.dumps(_plain(values), indent=2, allow_nan=False) + "\n")


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


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if _is_nan(value) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
