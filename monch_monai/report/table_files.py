"""Tables as Markdown and CSV."""

from pathlib import Path
from typing import Any

from monch_monai.files import write_rows, write_text_atomically
from monch_monai.report.score import Score

Table = list[dict[str, Any]]
"""Rows of the same columns."""


def write_table(path: Path, rows: Table, note: str = "") -> None:
    """Writes rows as `path` with the suffixes .csv (numbers alone) and .md (as people read them); makes the folder.

    In the CSV a score is followed by the ends of its interval, its standard deviation and its number of runs.
    """
    scored = {name for row in rows for name, value in row.items() if isinstance(value, Score)}
    name = path.stem if path.suffix in (".csv", ".md") else path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path.with_name(f"{name}.csv"), [_numbers(row, scored) for row in rows])
    write_text_atomically(path.with_name(f"{name}.md"), to_markdown(rows) + (f"\n{note}\n" if note else ""))


def to_markdown(rows: Table) -> str:
    """Rows as a Markdown table; a missing value is a dash."""
    lines = [rows[0], ["---"] * len(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    return "".join("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |\n" for line in lines)


def cell(value: Any) -> str:
    """Text of a value in a table; None is a dash."""
    if value is None:
        return "-"
    return f"{value:.{4 if value < 10 else 1}f}" if isinstance(value, float) else str(value)


def _numbers(row: dict[str, Any], scored: set[str]) -> dict[str, Any]:
    """Cells of a row in the CSV, those named in `scored` followed by four."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        cells[name] = value.value if isinstance(value, Score) else value
        if name in scored:
            cells |= {f"{name} {part}": getattr(value, part, None) for part in ("low", "high", "sd", "runs")}
    return cells
