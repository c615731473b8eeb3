"""The lock of a run's folder: two runs at once would mix the weights of one with the record of the other."""

from pathlib import Path

from filelock import FileLock, Timeout

from monch_monai.errors import InputError

LOCK = ".run.lock"
SECONDS = 15.0
"""Longest wait for the lock, s: PyTorch's processes that load tiles outlive one that was killed by 5 s, and keep it."""


def lock(folder: Path) -> FileLock:
    """Locks a folder until `unlock`, or until the process ends or drops the lock; runs of one process share the lock.

    Raises:
        InputError: another process holds the lock.
    """
    held = _lock_of(folder)
    try:
        held.acquire(timeout=SECONDS)
    except Timeout as error:
        raise InputError(
            f"another process trains or evaluates into {folder}: wait for it, or give another --output_dir"
        ) from error
    return held


def unlock(folder: Path) -> None:
    """Frees a folder that this process may have locked."""
    held = _lock_of(folder)
    if held.is_locked:
        Path(held.lock_file).unlink(missing_ok=True)
        held.release(force=True)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.resolve() / LOCK, is_singleton=True)
