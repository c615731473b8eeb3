"""Locks of a moment, on disks that have any."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of disks without locks, such as Lustre mounted without `flock`."""


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Holds the lock of a file and removes that; where the disk has no locks, goes on without.

    Raises:
        Timeout: another process held the lock for `timeout` seconds.
        OSError: the file cannot be made.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except (NotImplementedError, OSError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
