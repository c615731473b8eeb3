"""Rows of a small table that people write, as CSV."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monch_monai.errors import InputError, one_line, shown

LARGEST = 1024 * 1024
"""Bytes of the largest table that is read."""


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows by column, cells without spaces around them and in Unicode's composed form; empty lines are left out.

    Args:
        path: CSV in UTF-8.
        columns: those that it needs.

    Raises:
        InputError: the file cannot be read or is too large, a column is missing or stands twice, or a row has more or
            fewer cells than there are columns.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"it has {size:,} bytes")
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [[unicodedata.normalize("NFC", cell.strip()) for cell in row] for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8 ({one_line(error, 120)}): mend it") from error
    header = lines[0] if lines else []
    needed = f"the columns {' and '.join(columns)}, separated by commas"
    for column in columns:
        if column not in header:
            raise InputError(f"{path} has no column {column!r}: it needs {needed}")
    column, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has {count} columns {shown(column)}: it needs {needed}, each once")
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(header):
            found = f"{path} has {len(row)} cells in row {number} ({shown(','.join(row))}), and {len(header)} columns"
            raise InputError(f"{found}: give each row as many, in quotes where one has a comma")
    return [dict(zip(header, row, strict=True)) for row in lines[1:]]
