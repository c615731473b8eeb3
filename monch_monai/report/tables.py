"""The paper's tables, ours beside the paper's own numbers.

Several runs of one method (splits, seeds) give mean ± standard deviation of the sample.
"""

import logging
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from monch_monai.errors import InputError
from monch_monai.metrics.rows import POOLED
from monch_monai.report.evaluated_run import WHOLE, EvaluatedRun, conditions
from monch_monai.report.groups import group_runs
from monch_monai.report.paper import CLASS_ORDER, F1_TABLES, TABLE_1, TABLE_1_MILLISECONDS, TABLE_2
from monch_monai.report.score import mean_score
from monch_monai.report.table_files import Table
from monch_monai.tissues import TISSUES

logger = logging.getLogger(__name__)

PAPER_CONDITIONS = "RTX 3090, the rest not said"
PAPER, OURS = "paper", "this software"
Organs = dict[str, list[float]]
CLASS_SCORES = {"IoU": "iou", "precision": "precision", "F1": "dice"}
"""Score of a class in Table 1 to its name in `scores.json`."""
ORGAN_SCORES = {"IoU": "mean_iou_with_background", "FWIoU": "fw_iou", "F1": "f1_of_means_with_background"}
"""Column of Table 2 to its name in `scores.json`."""


def table_1(runs: Sequence[EvaluatedRun]) -> Table:
    """IoU, precision and F1 of each class, and inference time: the paper's systems, and ours of its name below each."""
    rows: Table = []
    for name, group in _beside(group_runs(runs, "system"), TABLE_1):
        row: dict[str, Any] = {"system": name, "source": _source(group) if group else PAPER}
        if not group:
            for c, values in zip(CLASS_ORDER, TABLE_1[name], strict=True):
                row |= {f"{c} {score}": value for score, value in zip(CLASS_SCORES, values, strict=True)}
            rows.append({**row, "inference ms": TABLE_1_MILLISECONDS[name], "conditions": PAPER_CONDITIONS})
            continue
        for c in CLASS_ORDER:
            for score, key in CLASS_SCORES.items():
                row[f"{c} {score}"] = mean_score([of[c] for run in group if c in (of := run.scores["classes"])], key)
        timed = [run.time for run in group if run.time is not None]
        measured = {conditions(time) for time in timed}  # times of unlike machines have no mean
        milliseconds = statistics.mean(time["median_ms"] for time in timed) if len(measured) == 1 else None
        rows.append({**row, "inference ms": milliseconds, "conditions": " / ".join(sorted(measured)) or None})
    return rows


def table_2(runs: Sequence[EvaluatedRun]) -> Table:
    """IoU, FWIoU and F1 of each organ, each of ours beside the paper's of its name; then averages and spreads.

    Organ scores are macro means over the classes that the organ's images have, background included, F1 that of macro
    precision and macro recall.
    """
    systems = sorted(_beside(group_runs(runs, "system"), TABLE_2), key=_paper_last(runs))
    found = {organ for run in runs for organ in run.scores["organs"]} - {POOLED}
    rows: Table = []
    keys = ORGAN_SCORES.values()
    for organ in (*TISSUES, *sorted(found - set(TISSUES))):
        row: dict[str, Any] = {"organ": organ}
        for name, group in systems:
            if group:
                scores = [run.scores["organs"][organ] for run in group if organ in run.scores["organs"]]
                row |= _columns(name, [mean_score(scores, key) for key in keys])
            else:
                row |= _columns(f"{name} ({PAPER})", TABLE_2[name].get(organ, (None, None, None)))
        rows.append(row)
    for label, (of_paper, spread) in OVER_ORGANS.items():
        row = {"organ": label}
        for name, group in systems:
            if not group:
                row |= _columns(f"{name} ({PAPER})", of_paper(TABLE_2[name]))
                continue
            if spread is None:
                means = [mean_score([run.scores["organs"][POOLED] for run in group], key) for key in keys]
            else:
                means = [mean_score([run.scores["over_organs"][key] for run in group], spread) for key in keys]
            row |= _columns(name, means)
        rows.append(row)
    return rows


def _beside(ours: dict[str, list[EvaluatedRun]], printed: Iterable[str]) -> list[tuple[str, list[EvaluatedRun]]]:
    """The systems that the paper prints, without runs, each followed by ours of its name; then our others."""
    order: list[tuple[str, list[EvaluatedRun]]] = []
    for system in printed:
        order += [(system, []), *((name, group) for name, group in ours.items() if group[0].row == system)]
    known = {name for name, group in order if group}
    return [*order, *((name, group) for name, group in ours.items() if name not in known)]


def _paper_last(runs: Sequence[EvaluatedRun]) -> Callable[[tuple[str, list[EvaluatedRun]]], tuple[int, bool]]:
    """Key by which ours come in the order of the runs, each before the paper's of its name, and then all others."""
    rows = list(dict.fromkeys(run.row for run in runs))

    def key(system: tuple[str, list[EvaluatedRun]]) -> tuple[int, bool]:
        name, group = system
        row = group[0].row if group else name
        return rows.index(row) if row in rows else len(rows), not group

    return key


def _over_organs(of: Callable[[list[float]], float]) -> Callable[[Organs], list[float]]:
    return lambda organs: [of([organs[tissue][i] for tissue in TISSUES]) for i in range(len(ORGAN_SCORES))]


OVER_ORGANS: dict[str, tuple[Callable[[Organs], list[float]], str | None]] = {
    "average: six classes of the pooled test set": (lambda organs: organs["average"], None),
    "plain mean over organs": (_over_organs(statistics.mean), "mean"),
    "variance over organs (the paper's STD)": (lambda organs: organs["STD"], "variance"),
    "standard deviation over organs": (_over_organs(statistics.pstdev), "sd"),
}
"""Last rows of Table 2: label to the paper's numbers and to the spread in `scores.json`, None for pooled images."""


def f1_table(number: int, runs: Sequence[EvaluatedRun]) -> Table:
    """Tables 3 to 7: F1 of each class by row, the paper's and ours.

    Rows not run here are the paper's alone. Ours that no table of the paper has are at the end.
    """
    if number < 6:
        ours, elsewhere = group_runs(runs, "system"), {name for table in (3, 4, 5) for name in F1_TABLES[table]}
    else:
        ours, elsewhere = group_runs([run for run in runs if run.row == WHOLE], "encoder"), set()
    rows: Table = []
    for name, scores in F1_TABLES[number].items():
        rows.append({"row": name, "source": PAPER, **dict(zip(CLASS_ORDER, scores, strict=True))})
        rows += [_our_row(label, group) for label, group in ours.items() if label.split(", ")[0] == name]
    known = elsewhere | set(F1_TABLES[number])
    rows += [_our_row(label, group) for label, group in ours.items() if label.split(", ")[0] not in known]
    return rows


def _our_row(label: str, group: Sequence[EvaluatedRun]) -> dict[str, Any]:
    classes = [run.scores["classes"] for run in group]
    scores = {c: mean_score([of[c] for of in classes if c in of], "dice") for c in CLASS_ORDER}
    return {"row": label, "source": _source(group), **scores}


def paper_table(number: int, runs: Sequence[EvaluatedRun]) -> Table:
    """Table 1 to 7 with the runs' rows.

    Raises:
        InputError: `number` is not one from 1 to 7.
    """
    if len({run.record["data_fingerprint"] for run in runs}) > 1:
        logger.warning("the runs in this table were evaluated on different data: their rows do not compare")
    if number in F1_TABLES:
        return f1_table(number, runs)
    if number not in (1, 2):
        raise InputError(f"table {number!r} is none of the paper's: give a number from 1 to 7")
    return table_1(runs) if number == 1 else table_2(runs)


def _columns(system: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{system} {score}": value for score, value in zip(ORGAN_SCORES, values, strict=True)}


def _source(group: Sequence[EvaluatedRun]) -> str:
    return OURS if len(group) == 1 else f"{OURS}, {len(group)} runs"
