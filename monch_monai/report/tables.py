"""The paper's tables, ours beside the paper's own numbers.

A run is read from the folder of its evaluation: `scores.json`, `run.json` and, where it was measured,
`inference_time.json`. Several runs of one row (splits, seeds) give mean ± standard deviation of the sample.
"""

import csv
import io
import json
import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monch_monai.classes import TISSUES
from monch_monai.errors import InputError
from monch_monai.files import write_text_atomically
from monch_monai.networks.pretrained import PROMPTS
from monch_monai.networks.prompt_decoder import QUERIES
from monch_monai.report.paper import (
    CLASS_ORDER,
    F1_TABLES,
    TABLE_1,
    TABLE_1_MILLISECONDS,
    TABLE_2,
)

logger = logging.getLogger(__name__)

PAPER_CONDITIONS = "RTX 3090, the rest not said"
PAPER, OURS = "paper", "this software"
ABLATIONS = {
    "mgfe": (3, "without MGFE"),
    "ppd": (3, "without PPD"),
    "high_pass": (4, "without HF"),
    "topology": (4, "without Topo"),
}
STAGES = dict(zip(QUERIES, ("q_h", "q_v", "q_t", "q_T"), strict=True))
BACKBONES = {
    "clip": "CLIP",
    "plip": "PLIP",
    "conch": "CONCH",
    "sam2": "SAM2",
    "sam": "SAM",
    "uni": "UNI",
}
BASELINES = {"UNet": "U-Net", "HoVerNetMaps": "HoVer-Net"}
"""Names of other networks by their class, as Table 1 has them."""
DEFAULT_ENCODER = "clip_rn50"
WHOLE = "MONCH"


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluation: its scores, its row in the ablation tables, its encoder's name, and the record of its run.

    Runs are of one row of a table when `system`, or in Tables 6 and 7 `encoder`, is the same.
    """

    folder: Path
    scores: dict[str, Any]
    time: dict[str, Any] | None
    row: str
    backbone: str
    record: dict[str, Any]

    @property
    def encoder(self) -> str:
        """The backbone, with the encoder's name where there are several of it and this is not the paper's.

        One that did not start from published weights says so.
        """
        name = str(self.record["encoder_weights"]).split(":")[0]
        alone = name == DEFAULT_ENCODER or name.lower() == self.backbone.lower()
        label = self.backbone if alone else f"{self.backbone}, {name}"
        random = str(self.record["encoder_weights"]).split(": ")[-1] == "random"
        return f"{label}, random weights" if random else label

    @property
    def system(self) -> str:
        """The network's row, with MONCH's encoder where that is not CLIP as published."""
        return self.row if self.encoder == "CLIP" or self.row in BASELINES.values() else f"{self.row}, {self.encoder}"

    @classmethod
    def read(cls, folder: str | Path) -> "EvaluatedRun":
        """The evaluation in `folder`, or in its subfolder `evaluation`.

        Raises:
            InputError: there is none, or its files are damaged.
        """
        given = Path(folder)
        place = next(
            (p for p in (given, given / "evaluation") if (p / "scores.json").is_file()),
            None,
        )
        if place is None:
            raise InputError(
                f"{given} holds no scores.json: give the folder of an evaluation (evaluate.json makes one)"
            )
        try:
            scores = json.loads((place / "scores.json").read_text(encoding="utf-8"))
            own = place / "run_evaluation.json"  # where the folder is that of a training, whose record is run.json
            record = json.loads((own if own.is_file() else place / "run.json").read_text(encoding="utf-8"))
            time = place / "inference_time.json"
            timed = json.loads(time.read_text(encoding="utf-8")) if time.is_file() else None
            if timed is not None:
                timed["median_ms"], conditions(timed)
            switches = (record.get("config") or {}).get("network_def", {})
            backbone = str(record["encoder_weights"]).split(":")[0]
            scores["classes"], scores["organs"], scores["over_organs"], record["settings"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{place} is not a whole evaluation ({error!r}): evaluate again") from error
        return cls(place, scores, timed, _row(switches, str(record["encoder_weights"])), _backbone(backbone), record)


def _row(switches: dict[str, Any], origin: str) -> str:
    """Name of a network's row in Tables 3 to 5; a network with two parts off has none of the paper's."""
    network = str(switches.get("_target_", "")).rpartition(".")[2]
    if network in BASELINES:
        return BASELINES[network]
    off = [name for key, (_, name) in ABLATIONS.items() if str(switches.get(key, True)).lower() == "false"]
    off += [f"without {STAGES[q]}" for q in QUERIES if q not in switches.get("queries", QUERIES)]
    if switches.get("middle_stride"):
        off.append(f"middle map of stride {switches['middle_stride']}")
    off += [f"prompts {words}" for words in PROMPTS if f": prompts {words}:" in origin]
    return " ".join(off) or WHOLE


def _backbone(name: str) -> str:
    return next(
        (printed for start, printed in BACKBONES.items() if name.startswith(start)),
        name,
    )


Table = list[dict[str, Any]]
"""Rows of the same columns."""
Organs = Mapping[str, tuple[float, float, float]]
POOLED = "all images"
ORGAN_SCORES = {
    "IoU": "mean_iou_with_background",
    "FWIoU": "fw_iou",
    "F1": "f1_of_means_with_background",
}
"""Column of Table 2 to its name in `scores.json`."""


@dataclass(frozen=True)
class Score:
    """A score of one run with the ends of its interval, or the mean of several runs with their standard deviation."""

    value: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    runs: int = 1

    def __str__(self) -> str:
        """As it stands in a table: `0.6123 [0.5790, 0.6420]`, or `0.6123 ± 0.0040 (3)`."""
        if self.runs > 1:
            return f"{self.value:.4f} ± {self.sd:.4f} ({self.runs})"
        return f"{self.value:.4f}" + ("" if self.low is None else f" [{self.low:.4f}, {self.high:.4f}]")


def table_1(runs: Sequence[EvaluatedRun]) -> Table:
    """IoU, precision and F1 of each class, and inference time, of the paper's systems and of ours."""
    rows: Table = []
    for system, classes in TABLE_1.items():
        row: dict[str, Any] = {"system": system, "source": PAPER}
        for name, scores in zip(CLASS_ORDER, classes, strict=True):
            row |= {f"{name} {score}": value for score, value in zip(("IoU", "precision", "F1"), scores, strict=True)}
        rows.append({**row, "inference ms": TABLE_1_MILLISECONDS[system], "conditions": PAPER_CONDITIONS})
    for name, group in _grouped(runs, "system").items():
        row = {"system": name, "source": _source(group)}
        for c in CLASS_ORDER:
            for score, key in (
                ("IoU", "iou"),
                ("precision", "precision"),
                ("F1", "dice"),
            ):
                row[f"{c} {score}"] = _mean([run.scores["classes"][c] for run in group], key)
        timed = [run.time for run in group if run.time is not None]
        said = {conditions(time) for time in timed}  # times of unlike machines have no mean
        milliseconds = statistics.mean(time["median_ms"] for time in timed) if len(said) == 1 else None
        rows.append({**row, "inference ms": milliseconds, "conditions": " / ".join(sorted(said)) or None})
    return rows


def table_2(runs: Sequence[EvaluatedRun]) -> Table:
    """IoU, FWIoU and F1 of each organ, of the paper's systems and of ours; then averages and spreads, each named.

    Organ scores are macro means over the classes that the organ's images have, background included, F1 that of macro
    precision and macro recall.
    """
    ours = _grouped(runs, "system")
    found = {organ for run in runs for organ in run.scores["organs"]} - {POOLED}
    rows: Table = []
    for organ in (*TISSUES, *sorted(found - set(TISSUES))):
        row: dict[str, Any] = {"organ": organ}
        for name, group in ours.items():
            scores = [run.scores["organs"][organ] for run in group if organ in run.scores["organs"]]
            row |= _columns(name, [_mean(scores, key) for key in ORGAN_SCORES.values()])
        for system, organs in TABLE_2.items():
            row |= _columns(f"{system} ({PAPER})", organs.get(organ, (None, None, None)))
        rows.append(row)
    for label, of_paper, of_ours in OVER_ORGANS:
        row = {"organ": label}
        for name, group in ours.items():
            ours_over = [[of_ours(run.scores, key) for run in group] for key in ORGAN_SCORES.values()]
            row |= _columns(name, [_mean([scores for scores, _ in pairs], pairs[0][1]) for pairs in ours_over])
        for system, organs in TABLE_2.items():
            row |= _columns(f"{system} ({PAPER})", of_paper(organs))
        rows.append(row)
    return rows


def _over_organs(of: Callable[[list[float]], float]) -> Callable[[Organs], list[float]]:
    return lambda organs: [of([organs[tissue][i] for tissue in TISSUES]) for i in range(len(ORGAN_SCORES))]


OVER_ORGANS: tuple[
    tuple[str, Callable[[Organs], Sequence[float]], Callable[[dict[str, Any], str], tuple[dict[str, Any], str]]],
    ...,
] = (
    (
        "average: six classes of the pooled test set",
        lambda o: o["average"],
        lambda s, key: (s["organs"][POOLED], key),
    ),
    (
        "plain mean over organs",
        _over_organs(statistics.mean),
        lambda s, key: (s["over_organs"][key], "mean"),
    ),
    (
        "variance over organs (the paper's STD)",
        lambda o: o["STD"],
        lambda s, key: (s["over_organs"][key], "variance"),
    ),
    (
        "standard deviation over organs",
        _over_organs(statistics.pstdev),
        lambda s, key: (s["over_organs"][key], "sd"),
    ),
)
"""Last rows of Table 2: label, the paper's three numbers, and of ours where one stands and under what key."""


def f1_table(number: int, runs: Sequence[EvaluatedRun]) -> Table:
    """Tables 3 to 7: F1 of each class by row, the paper's and ours.

    Rows not run here are the paper's alone. Ours that no table of the paper has stand at the end.
    """
    if number < 6:
        ours, elsewhere = _grouped(runs, "system"), {name for table in (3, 4, 5) for name in F1_TABLES[table]}
    else:
        ours, elsewhere = _grouped([run for run in runs if run.row == WHOLE], "encoder"), set()
    rows: Table = []
    for name, scores in F1_TABLES[number].items():
        rows.append(
            {
                "row": name,
                "source": PAPER,
                **dict(zip(CLASS_ORDER, scores, strict=True)),
            }
        )
        rows += [_our_row(label, group) for label, group in ours.items() if label.split(", ")[0] == name]
    known = elsewhere | set(F1_TABLES[number])
    rows += [_our_row(label, group) for label, group in ours.items() if label.split(", ")[0] not in known]
    return rows


def conditions(time: dict[str, Any]) -> str:
    """Conditions of a measured inference time, in a phrase."""
    return f"{time['device_name']}, {time['precision']}, batch {time['batch_size']}, {time['tile_size']} px"


def _our_row(label: str, group: Sequence[EvaluatedRun]) -> dict[str, Any]:
    scores = {c: _mean([run.scores["classes"][c] for run in group], "dice") for c in CLASS_ORDER}
    return {"row": label, "source": _source(group), **scores}


def paper_table(number: int, runs: Sequence[EvaluatedRun]) -> Table:
    """Table 1 to 7 with the runs' rows.

    Raises:
        InputError: there is no such table.
    """
    if len({run.record["data_fingerprint"] for run in runs}) > 1:
        logger.warning("the runs were evaluated on different data, and stand in one table all the same")
    if number in F1_TABLES:
        return f1_table(number, runs)
    if number not in (1, 2):
        raise InputError(f"table {number!r} is none of the paper's: give a number from 1 to 7")
    return table_1(runs) if number == 1 else table_2(runs)


def write_table(path: Path, rows: Table, note: str = "") -> None:
    """Writes rows as `path` with the suffixes .csv (numbers alone) and .md (as they are read); makes its folder.

    In the CSV a score is followed by the ends of its interval, its standard deviation and its number of runs.
    """
    text = io.StringIO()
    table = csv.writer(text)
    scored = {name for row in rows for name, value in row.items() if isinstance(value, Score)}
    more = ("low", "high", "sd", "runs")
    table.writerow([c for name in rows[0] for c in (name, *(f"{name} {m}" for m in more if name in scored))])
    table.writerows([n for name, value in row.items() for n in _numbers(value, name in scored)] for row in rows)
    name = path.stem if path.suffix in (".csv", ".md") else path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path.with_name(f"{name}.csv"), text.getvalue())
    write_text_atomically(path.with_name(f"{name}.md"), to_markdown(rows) + (f"\n{note}\n" if note else ""))


def to_markdown(rows: Table) -> str:
    """Rows as a Markdown table; what is not there is a dash."""
    lines = [rows[0], ["---"] * len(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    return "".join("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |\n" for line in lines)


def cell(value: Any) -> str:
    """A value as it stands in a table; None is a dash."""
    if value is None:
        return "-"
    return f"{value:.{4 if value < 10 else 1}f}" if isinstance(value, float) else str(value)


def _numbers(value: Any, scored: bool) -> list[Any]:
    """Cells of a value in the CSV."""
    if isinstance(value, Score):
        return [value.value, value.low, value.high, value.sd, value.runs]
    return [value, None, None, None, None] if scored else [value]


def _columns(system: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{system} {score}": value for score, value in zip(ORGAN_SCORES, values, strict=True)}


def _grouped(runs: Sequence[EvaluatedRun], by: str) -> dict[str, list[EvaluatedRun]]:
    """Runs by one of their attributes."""
    groups: defaultdict[str, list[EvaluatedRun]] = defaultdict(list)
    for run in runs:
        groups[getattr(run, by)].append(run)
    return dict(groups)


def _source(group: Sequence[EvaluatedRun]) -> str:
    return OURS if len(group) == 1 else f"{OURS}, {len(group)} runs"


def _mean(scores: Sequence[Any], key: str | None = None) -> Score | None:
    """One run's score with its interval, or the mean of several; None where no run has it."""
    values = [score if key is None else score[key] for score in scores]
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        alone = scores[0] if key is not None and len(scores) == 1 else {}
        return Score(known[0], alone.get(f"{key}_low"), alone.get(f"{key}_high"))
    return Score(statistics.mean(known), sd=statistics.stdev(known), runs=len(known))
