"""NumPy files of any size, read a few rows at a time, also from inside a zip archive."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError


class ArrayFile:
    """An .npy file that is read in order, without mapping it or holding more than a few rows.

    Args:
        path: the file, or the zip archive it is in.
        member: its name in the archive; None for a plain file.

    Attributes:
        shape: of the whole array.
        dtype: of its values.
        identity: name, size and checksum (in an archive) or time of change, which differ between files.

    Raises:
        InputError: the file cannot be opened, is no .npy file, is shorter than its header states, holds Python objects,
            or is not of rows.
    """

    def __init__(self, path: Path, member: str | None = None) -> None:
        self.path, self.member = path, member
        self.name = str(path) if member is None else f"{path}: {member}"
        try:
            if member is None:
                status = path.stat()
                size, stamp = status.st_size, f"time {status.st_mtime_ns}"
            else:
                with zipfile.ZipFile(path) as archive:
                    info = archive.getinfo(member)
                size, stamp = info.file_size, f"CRC {info.CRC:08x}"
            with self._open() as file:
                version = np.lib.format.read_magic(file)
                read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
                self.shape, columns_first, self.dtype = read(file)
                self._offset = file.tell()
        except (NotImplementedError, RuntimeError) as error:  # another compression (Windows repacks so), or encrypted
            raise InputError(f"{self.name} cannot be read from the archive ({error}): extract it first") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read as .npy ({error}): fetch it again") from error
        if self.dtype.hasobject or columns_first or not self.shape:
            found = "Python objects" if self.dtype.hasobject else "columns first" if columns_first else "a single value"
            raise InputError(f"{self.name} holds {found}; expected plain rows as in the published files")
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        expected = self._offset + self.shape[0] * self._row_bytes
        if size < expected:
            raise InputError(f"{self.name} is cut off: {size:,} of {expected:,} bytes; fetch it again")
        self.identity = f"{path.name if member is None else member} {size} bytes, {stamp}"

    def _open(self) -> IO[bytes]:
        if self.member is None:
            return self.path.open("rb")
        archive = zipfile.ZipFile(self.path)
        file = archive.open(self.member)
        archive.close()  # the open member keeps the archive's file open
        return file

    def rows(self, start: int = 0) -> Iterator[NDArray[Any]]:
        """Entries along the first axis, from `start` on, each a fresh array.

        Raises:
            InputError: the file is damaged, or was cut off since it was opened.
        """
        try:
            with self._open() as file:
                file.seek(self._offset + start * self._row_bytes)
                for _ in range(start, self.shape[0]):
                    data = file.read(self._row_bytes)
                    if len(data) < self._row_bytes:
                        raise EOFError("the file ends too early")
                    yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])
        except (EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{self.name} is damaged ({error}): fetch it again") from error

    def load(self) -> NDArray[Any]:
        """The whole array."""
        return np.stack(list(self.rows())) if self.shape[0] else np.zeros(self.shape, self.dtype)
