"""Errors that the user can correct, and how a command line shows them."""

import errno
import os
import pydoc
import sys
from collections.abc import Iterator
from types import TracebackType

SHARED_MEMORY = "/dev/shm"  # noqa: S108
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or give another folder, and run again"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "give a file that can be read or a folder to write to"),
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "give a shorter name",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file has the name of a folder: give another folder"),
}
"""What to do, by the cause of an error of the system that keeps a file from being read or written."""


class InputError(ValueError):
    """A value from the user cannot be used. Its text is one line: the value, what was expected, what to do."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Text of an error in one line of at most `limit` characters; the name of its type where it has no text."""
    return (" ".join(str(error).split()) or type(error).__name__)[:limit]


def shown(value: object, limit: int = 80) -> str:
    """A user's value as messages show it, on one line of at most `limit` characters."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def find_input_error(error: BaseException | None) -> InputError | None:
    """The `InputError` that is `error` or, wrapped by a framework, its cause."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def fault_of_machine(error: BaseException) -> str | None:
    """One line on a fault of the machine: disk, memory, a missing package; None where `error` is none of them."""
    for each in _chain(error):
        text = str(each)
        if isinstance(each, OSError) and each.errno in REMEDIES:
            return f"{each.filename or 'a file'}: {each.strerror}; {REMEDIES[each.errno]}"
        if isinstance(each, RuntimeError) and ("shared memory" in text or "bus error" in text.lower()):
            remedy = "enlarge it (docker run --shm-size 8g), or give --num_workers 0"
            return f"the processes that load tiles have too little shared memory ({_shared_memory()}): {remedy}"
        if isinstance(each, RuntimeError) and "DataLoader worker" in text:
            died = f"a process that loads tiles died, perhaps for want of memory ({one_line(each, 120)})"
            return f"{died}: give fewer --num_workers"
        if type(each).__name__ == "OutOfMemoryError" or isinstance(each, MemoryError):
            remedy = "give a smaller --batch_size, --sw_batch_size or --region_size"
            return f"the memory is full ({one_line(each, 120)}): {remedy}"
        if isinstance(each, ImportError) and not (each.name or "").startswith("monch_monai"):
            package = (each.name or "").partition(".")[0]
            return f"{one_line(each)}: pip install {package}" if package else f"a package is missing ({one_line(each)})"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, the outermost first."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        inner = error.value if isinstance(error, pydoc.ErrorDuringImport) else None
        error = inner or error.__cause__ or error.__context__


def _shared_memory() -> str:
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return f"{SHARED_MEMORY} is missing"
    return f"{SHARED_MEMORY} has {found.f_frsize * found.f_blocks / 2**20:.0f} MiB"


def show_input_errors_in_one_line() -> None:
    """Shows an `InputError` that ends the process as one line on stderr, without a traceback; the exit code stays 1.

    So are faults of the machine shown. An interruption by the keyboard shows one word.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = find_input_error(error)
    line = one_line(found, limit=2000) if found is not None else fault_of_machine(error)
    if isinstance(error, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
    elif line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"ERROR: {line}", file=sys.stderr)
