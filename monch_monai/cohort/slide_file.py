"""A slide's file: its name in results, and what it is recognised by."""

import hashlib
from pathlib import Path

from monch_monai.errors import InputError

ENDS = 1 << 20
"""Bytes at each end of a file that it is recognised by."""


def stem(path: Path) -> str:
    """Name of a slide's results: its own without suffix."""
    return path.name if path.is_dir() else path.stem


def fingerprint(path: Path) -> str:
    """SHA-256 over the size and both ends of a slide's file, or of each file in its folder: slides are too large to
    read whole, and differ there.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            size = file.stat().st_size
            digest.update(f"{size} ".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(ENDS))
                opened.seek(max(ENDS, size - ENDS))
                digest.update(opened.read(ENDS))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): replace or remove it") from error
    return digest.hexdigest()
