"""Rows of a small table that people write, as CSV."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monch_monai.errors import InputError, one_line, shown

LARGEST = 1024 * 1024
"""Bytes of the largest table that is read."""


def read_csv(path: Path, columns: Sequence[str], largest: int = LARGEST) -> dict[int, dict[str, str]]:
    """Rows by the line where they end, each by column; empty lines are left out.

    Cells are without spaces around them and in Unicode's composed form.

    Args:
        path: CSV in UTF-8.
        columns: those that it needs.
        largest: bytes that it may have.

    Raises:
        InputError: the file cannot be read or is too large, a column is missing or stands twice, or a row has more or
            fewer cells than there are columns.
    """
    try:
        if (size := path.stat().st_size) > largest:
            raise ValueError(f"it has {size:,} bytes")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [_cell(text) for text in row]) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8 ({one_line(error, 120)}): mend it") from error
    header = lines.pop(0)[1] if lines else []
    needed = f"the columns {' and '.join(columns)}, separated by commas"
    for column in columns:
        if column not in header:
            raise InputError(f"{path} has no column {shown(column)}: it needs {needed}")
    column, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has {count} columns {shown(column)}: it needs {needed}, each once")
    for line, row in lines:
        if len(row) != len(header):
            found = f"{path} has {len(row)} cells in line {line} ({shown(','.join(row))}), and {len(header)} columns"
            raise InputError(f"{found}: give each row as many, in quotes where one has a comma")
    return {line: dict(zip(header, row, strict=True)) for line, row in lines}


def _cell(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
