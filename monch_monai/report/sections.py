"""What the page about an evaluation shows: its key numbers, tables and pictures."""

import base64
import io
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from monch_monai.metrics.rows import POOLED
from monch_monai.overlay import MISTAKES
from monch_monai.report.evaluated_run import EvaluatedRun, conditions, read_json
from monch_monai.report.score import Score, score_of
from monch_monai.report.table_files import Table, cell

TEXTS: dict[str, dict[str, str]] = tomllib.loads(
    resources.files("monch_monai.report").joinpath("page.toml").read_text("utf-8")
)
"""Notes, captions, and printed names of scores with their keys."""
WIDEST = 1600
"""Pixels of a picture on the page, from left to right."""


def key_numbers(run: EvaluatedRun) -> list[dict[str, str]]:
    """Scores of nuclei and pixels with their intervals, and the inference time, by name, value and note."""
    pooled = run.scores["organs"][POOLED]
    shown = [
        ("mean Dice of nuclei", pooled, "mean_f1_of_nuclei"),
        ("pixel accuracy", pooled, "pixel_accuracy"),
        ("Dice, any nucleus", run.scores["classes"]["any nucleus"], "dice"),
    ]
    numbers = [_number(name, row[key], row[f"{key}_low"], row[f"{key}_high"]) for name, row, key in shown]
    nuclei = read_json(run.folder / "nuclei.json") or {}
    for name, key in list(TEXTS["panoptic"].items())[:2]:
        if key in nuclei:
            numbers.append(_number(name, nuclei[key]["value"], nuclei[key]["low"], nuclei[key]["high"]))
    if run.time is not None:
        value = f"{run.time['median_ms']:.1f} ms"
        numbers.append({"name": "inference of a tile, median", "value": value, "note": conditions(run.time)})
    return numbers


def page_sections(run: EvaluatedRun, tables: dict[int, Table]) -> list[dict[str, Any]]:
    """Sections of the page, as the template takes them; `tables` are the paper's by number."""
    folder, notes = run.folder, TEXTS["notes"]
    sections = [_section("By class", text=notes["classes"], table=_classes(run)), *_nuclei(run)]
    for number, rows in tables.items():
        plain = [{name: v.value if isinstance(v, Score) else v for name, v in row.items()} for row in rows]
        sections.append(_section(f"Table {number}, beside the paper's", text=notes[f"table_{number}"], table=plain))
    captions = {folder / "figures" / f"{name}.png": caption for name, caption in TEXTS["captions"].items()}
    sections.append(_section("Figures", figures=_pictures(captions), pair=True))
    key = [{"name": c.name, "color": f"rgb{c.color}"} for c in run.class_table.nuclei]
    key += [{"name": name, "color": f"rgb{color}"} for name, color in MISTAKES.items()]
    listed = read_json(folder / "tiles" / "tiles.json") or {}
    for kind in ("worst", "best"):
        captions = {
            folder / "tiles" / f"{name}.png": f"{Path(tile['image']).name} {tile['tissue']} {tile['source']}: "
            f"mean Dice {tile['mean_dice']:.3f}"
            for name, tile in listed.items()
            if name.startswith(kind)
        }
        if captions:
            sections.append(_section(f"The {kind} tiles", text=notes["tiles"], key=key, figures=_pictures(captions)))
    words = _pictures({folder / "figures" / "words.png": "Words in a tile: a row a class, with its sentences."})
    if words:
        sections.append(_section("Seeing words", text=notes["words"], figures=words))
    return sections


def _classes(run: EvaluatedRun) -> Table:
    """Scores of each class with their intervals, and its pixels."""
    rows: Table = []
    for name, scores in run.scores["classes"].items():
        cells = {title: score_of(scores, key) for title, key in TEXTS["of_class"].items()}
        pixels = {"pixels": f"{scores['pixels']:,}", "predicted": f"{scores['predicted']:,}"}
        rows.append({"class": name, **cells, **pixels})
    return rows


def _nuclei(run: EvaluatedRun) -> list[dict[str, Any]]:
    """Sections on single nuclei: mPQ and bPQ by every rule, and scores by class."""
    nuclei = read_json(run.folder / "nuclei.json")
    if nuclei is None:
        return []
    found = {name: nuclei[key] for name, key in TEXTS["panoptic"].items() if key in nuclei}
    means = [
        {"score": name, "value": Score(score["value"], score["low"], score["high"])}
        for name, score in found.items()
        if score["value"] is not None
    ]
    classes = [
        {"class": name, **{title: row[key] for title, key in TEXTS["of_nuclei"].items()}}
        for name, row in nuclei["classes"].items()
    ]
    return [
        _section("Nuclei, one by one", text=TEXTS["notes"]["nuclei"], table=means),
        _section("Nuclei by class", table=classes),
    ]


def _number(name: str, value: float | None, low: float | None, high: float | None) -> dict[str, str]:
    return {"name": name, "value": cell(value), "note": f"[{cell(low)}, {cell(high)}]"}


def _section(title: str, **content: Any) -> dict[str, Any]:
    return {"title": title, "text": "", "key": None, "table": None, "figures": None, "pair": False, **content}


def _pictures(captions: Mapping[Path, str]) -> list[dict[str, str]]:
    """Pictures for the page by file and caption, as JPEG of at most `WIDEST` pixels; files may be absent."""
    pictures = []
    for path, caption in captions.items():
        if path.is_file():
            data = io.BytesIO()
            with Image.open(path) as picture:
                shown = picture.convert("RGB")
                shown.thumbnail((WIDEST, shown.height))
                shown.save(data, "JPEG", quality=90)
            pictures.append({"data": base64.b64encode(data.getvalue()).decode(), "caption": caption})
    return pictures
