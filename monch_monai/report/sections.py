"""What the page about an evaluation shows: its key numbers, tables and pictures."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from monch_monai.classes import NUCLEUS_CLASSES
from monch_monai.overlay import MISTAKES
from monch_monai.report.evaluated_run import EvaluatedRun, conditions
from monch_monai.report.score import Score, score_of
from monch_monai.report.table_files import Table, cell
from monch_monai.report.tables import POOLED

NOTE = (
    "Of pixels, counted over all images together. In brackets: 95 % intervals, by resampling the images. A dash: "
    "not defined, since the class is not in the truth, or was never predicted."
)
NOTE_1 = (
    "The convention of the paper's Table 1, where F1 = 2 IoU / (1 + IoU). "
    "Rows marked paper are printed from it: those models are not part of this software, and the images may be others."
)
NOTE_2 = (
    "Macro means over the classes that an organ's images have, background included; F1 is that of macro precision and "
    "macro recall. The average of the pooled test set reproduces the paper's; that is inferred from its numbers."
)
NOTE_NUCLEI = (
    "A nucleus is found when it shares more than half of the union with a true one (PQ), or when their centres are "
    "within 12 px (detection and classification F1). PanNuke's rule leaves out classes that an image's truth does not "
    "have; the strict one counts false positives there; the pooled one adds up all images first."
)
PANOPTIC = {
    "bpq": "bPQ, PanNuke's rule",
    "mpq": "mPQ, PanNuke's rule",
    "bpq_strict": "bPQ, strict",
    "mpq_strict": "mPQ, strict",
    "bpq_plus": "bPQ+, pooled",
    "mpq_plus": "mPQ+, pooled",
}
"""Key in `nuclei.json` to its printed name."""
OF_NUCLEI = {
    "pq": "PQ, pooled",
    "dq": "DQ",
    "sq": "SQ",
    "pq_pannuke": "PQ, PanNuke's rule",
    "pq_strict": "PQ, strict",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "nuclei": "true nuclei",
    "predicted": "predicted",
}
WIDEST = 1600
"""Pixels of a picture on the page, from left to right."""
CAPTIONS = {
    "f1_by_organ": "F1 by organ with the number of tiles (the paper's Fig. 5).",
    "confusion": "Confusion of pixels: each row is what became of a class's pixels.",
    "reliability": "Reliability: how often a class is there, by probability given. ECE: expected calibration error.",
    "training": "Training: loss, and Dice on the validation part, by epoch.",
    "feature_maps": "What the network makes of a tile, by stage (Fig. 6): length of the feature vector at each place.",
}


def key_numbers(run: EvaluatedRun) -> list[dict[str, str]]:
    """Scores of nuclei and pixels with their intervals, and the inference time, by name, value and note."""
    pooled = run.scores["organs"][POOLED]
    shown = [
        ("mean Dice of nuclei", pooled, "mean_f1_of_nuclei"),
        ("pixel accuracy", pooled, "pixel_accuracy"),
        ("Dice, any nucleus", run.scores["classes"]["any nucleus"], "dice"),
    ]
    numbers = [
        {"name": name, "value": cell(row[key]), "note": f"[{cell(row[f'{key}_low'])}, {cell(row[f'{key}_high'])}]"}
        for name, row, key in shown
    ]
    nuclei = read_json(run.folder / "nuclei.json") or {}
    for key, name in list(PANOPTIC.items())[:2]:
        if key in nuclei:
            ends = f"[{cell(nuclei[key]['low'])}, {cell(nuclei[key]['high'])}]"
            numbers.append({"name": name, "value": cell(nuclei[key]["value"]), "note": ends})
    if run.time is not None:
        value = f"{run.time['median_ms']:.1f} ms"
        numbers.append({"name": "inference of a tile, median", "value": value, "note": conditions(run.time)})
    return numbers


def _nuclei(run: EvaluatedRun) -> list[dict[str, Any]]:
    """Sections on single nuclei: mPQ and bPQ by every rule, and scores by class."""
    nuclei = read_json(run.folder / "nuclei.json")
    if nuclei is None:
        return []
    means: Table = [
        {"score": name, "value": Score(nuclei[key]["value"], nuclei[key]["low"], nuclei[key]["high"])}
        for key, name in PANOPTIC.items()
        if nuclei.get(key, {}).get("value") is not None
    ]
    classes: Table = [
        {"class": name, **{title: row[key] for key, title in OF_NUCLEI.items()}}
        for name, row in nuclei["classes"].items()
    ]
    return [
        _section("Nuclei, one by one", text=NOTE_NUCLEI, table=means),
        _section("Nuclei by class", text="", table=classes),
    ]


def page_sections(run: EvaluatedRun, tables: dict[int, tuple[Table, str]]) -> list[dict[str, Any]]:
    """Sections of the page, as the template takes them; `tables` are the paper's by number, each with its note."""
    folder = run.folder
    sections = [
        _section("By class", text=NOTE, table=_classes(run)),
        *_nuclei(run),
        _section("Table 1, beside the paper's", text=tables[1][1], table=_without_intervals(tables[1][0])),
        _section("Table 2, beside the paper's", text=tables[2][1], table=_without_intervals(tables[2][0])),
    ]
    figures = [_figure(folder / "figures" / f"{name}.png", caption) for name, caption in CAPTIONS.items()]
    sections.append(_section("Figures", figures=[f for f in figures if f], pair=True))
    listed = read_json(folder / "tiles" / "tiles.json") or {}
    key = [{"name": c.name, "color": f"rgb{c.color}"} for c in NUCLEUS_CLASSES]
    key += [{"name": name, "color": f"rgb{color}"} for name, color in MISTAKES.items()]
    for kind in ("worst", "best"):
        pictures = [
            _figure(
                folder / "tiles" / f"{name}.png",
                f"{Path(tile['image']).name} {tile['tissue']} {tile['source']}: mean Dice {tile['mean_dice']:.3f}",
            )
            for name, tile in listed.items()
            if name.startswith(kind)
        ]
        if pictures:
            text = "Image, truth, prediction, mistakes."
            sections.append(_section(f"The {kind} tiles", text=text, key=key, figures=[p for p in pictures if p]))
    return sections


def _classes(run: EvaluatedRun) -> Table:
    """Scores of each class with their intervals, and its pixels."""
    shown = {"Dice (F1)": "dice", "IoU": "iou", "precision": "precision", "recall": "recall"}
    rows: Table = []
    for name, scores in run.scores["classes"].items():
        cells = {title: score_of(scores, key) for title, key in shown.items()}
        rows.append(
            {"class": name, **cells, "pixels": f"{scores['pixels']:,}", "predicted": f"{scores['predicted']:,}"}
        )
    return rows


def _without_intervals(rows: Table) -> Table:
    return [{name: v.value if isinstance(v, Score) else v for name, v in row.items()} for row in rows]


def _section(title: str, **content: Any) -> dict[str, Any]:
    return {"title": title, "text": "", "key": None, "table": None, "figures": None, "pair": False, **content}


def _figure(path: Path, caption: str) -> dict[str, str] | None:
    """A figure for the page, as JPEG of at most `WIDEST` pixels; None where the file does not exist."""
    if not path.is_file():
        return None
    data = io.BytesIO()
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
        shown.thumbnail((WIDEST, shown.height))
        shown.save(data, "JPEG", quality=90)
    return {"data": base64.b64encode(data.getvalue()).decode(), "caption": caption}


def read_json(path: Path) -> Any:
    """Content of a JSON file; None where the file does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
