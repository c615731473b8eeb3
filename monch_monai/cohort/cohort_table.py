"""`cohort.csv`: a row a slide of an output folder, whichever command or worker segmented it."""

import csv
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monch_monai.class_table import ClassTable
from monch_monai.cohort.locks import locked
from monch_monai.cohort.results import SUMMARY
from monch_monai.cohort.slide_file import printable
from monch_monai.errors import InputError
from monch_monai.files import write_rows
from monch_monai.segmentation import ratio

logger = logging.getLogger(__name__)

FILE = "cohort.csv"
TOTALS = ("nuclei_total", "per_mm2_total")
RATIOS = ("neoplastic_share", "inflammatory_share", "tumour_infiltration")
SHARE = 0.02
"""Of a cohort's time that may go into its table."""
WAIT_S = 60
"""How long to wait while another worker writes the table."""


class CohortTable:
    """The table of all slides that have results in a folder, and of those that failed.

    Columns: `slide` (with its folders within the cohort's), resolutions, tissue, nuclei, density and share by class,
    ratios, and `error`, why a slide has no results. A slide that failed in an earlier command keeps its row until it
    succeeds.

    Args:
        output_dir: folder of the results.
        class_table: classes of which there are columns in any case; slides of other classes add theirs.
    """

    def __init__(self, output_dir: Path, class_table: ClassTable) -> None:
        self.output_dir, self.file = output_dir, output_dir / FILE
        names = [c.name for c in class_table.nuclei]
        first = ["slide", "source_mpp", "working_mpp", "tissue_mm2", *TOTALS]
        by_class = (*(f"{name} per mm2" for name in names), *(f"{name} share" for name in names))
        self.columns = [*first, *names, *by_class, *RATIOS]
        self.known: dict[Path, tuple[int, dict[str, Any]]] = {}
        self.rest_until = 0.0

    def write(self, errors: Mapping[str, str], whole: bool = True) -> None:
        """Merges the summaries in the folder into the file, unless that took long and was done just before.

        Args:
            errors: why slides have no result, by name.
            whole: whether to write in any case.

        Raises:
            InputError: the file cannot be written.
        """
        start = time.monotonic()
        if not whole and start < self.rest_until:
            return
        try:
            with locked(self.output_dir / f".{FILE}.lock", WAIT_S):
                rows = {**self._earlier_errors(), **{row["slide"]: row for row in self._rows()}}
                rows |= {name: {"slide": name, "error": error} for name, error in _printable(errors)}
                last = list(dict.fromkeys([*(name for row in rows.values() for name in row), "error"]))
                columns = [*self.columns, *(name for name in last if name != "error"), "error"]
                write_rows(self.file, [rows[name] for name in sorted(rows)], columns)
        except OSError as error:
            problem = f"{self.file} cannot be written ({error.strerror or error})"
            raise InputError(f"{problem}: make room and run again, finished slides are kept") from error
        end = time.monotonic()
        self.rest_until = end + (end - start) / SHARE

    def made_otherwise(self, settings: Mapping[str, Any]) -> list[str]:
        """Slides in the table that were segmented with other settings, by name."""
        return sorted(
            self._name(folder, summary)
            for folder, (_, summary) in self.known.items()
            if any(summary["settings"].get(name) != value for name, value in settings.items())
        )

    def _rows(self) -> Iterator[dict[str, Any]]:
        for folder in _result_folders(self.output_dir):
            summary = self._summary(folder)
            if summary is not None:
                densities = {f"{name} per mm2": value for name, value in summary["per_mm2"].items()}
                resolutions = {name: summary[name][0] for name in ("source_mpp", "working_mpp")}
                about = {"slide": self._name(folder, summary), **resolutions, "tissue_mm2": summary["tissue_mm2"]}
                totals = {name: summary[name] for name in TOTALS}
                shares = {f"{name} share": ratio(n, totals["nuclei_total"]) for name, n in summary["nuclei"].items()}
                ratios = {name: summary["ratios"].get(name) for name in RATIOS}
                yield {**about, **totals, **summary["nuclei"], **densities, **shares, **ratios}

    def _summary(self, folder: Path) -> dict[str, Any] | None:
        """Content of a slide's summary, read once; None where it is no slide's."""
        file = folder / SUMMARY
        time_ns = file.stat().st_mtime_ns
        if folder not in self.known or self.known[folder][0] != time_ns:
            try:
                summary = json.loads(file.read_text(encoding="utf-8"))
                needed = ("slide", "per_mm2", "nuclei", "ratios", "source_mpp", "working_mpp", "tissue_mm2", "settings")
                if missing := [name for name in needed if name not in summary]:
                    raise ValueError(f"it lacks {missing[0]}")
            except (ValueError, TypeError) as error:
                logger.warning("%s is no slide's summary (%s): left out of %s", file, error, FILE)
                return None
            self.known[folder] = time_ns, summary
        return self.known[folder][1]

    def _name(self, folder: Path, summary: Mapping[str, Any]) -> str:
        return printable((folder.parent.relative_to(self.output_dir) / summary["slide"]).as_posix())

    def _earlier_errors(self) -> dict[str, dict[str, str]]:
        """Rows of slides that failed, from the file as it is."""
        if not self.file.is_file():
            return {}
        with self.file.open(encoding="utf-8", errors="replace", newline="") as file:
            try:
                rows = [row for row in csv.DictReader(file) if row.get("slide") and row.get("error")]
            except csv.Error:  # no table any more
                return {}
        return {row["slide"]: {name: row[name] for name in ("slide", "error")} for row in rows}


def _result_folders(folder: Path) -> Iterator[Path]:
    """Folders that hold a summary, without hidden ones, in which work is going on."""
    for path, folders, files in os.walk(folder):
        folders[:] = [] if SUMMARY in files else sorted(name for name in folders if not name.startswith("."))
        if SUMMARY in files and Path(path) != folder:
            yield Path(path)


def _printable(errors: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((printable(name), printable(error)) for name, error in errors.items())
