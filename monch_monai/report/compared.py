"""Several evaluated runs side by side: the same tiles (Figs. 4 and 7), and F1 by organ and class (Fig. 5)."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.handlers.compared_tiles import COMPARED
from monch_monai.metrics.rows import POOLED
from monch_monai.overlay import draw_contours
from monch_monai.report.evaluated_run import EvaluatedRun
from monch_monai.report.figures import INK, save
from monch_monai.report.groups import group_runs
from monch_monai.report.paper import CLASS_ORDER, TABLE_1, TABLE_2
from monch_monai.report.score import mean_score
from monch_monai.tissues import TISSUES

Arrays = Mapping[str, NDArray[Any]]
ORGAN_F1, CLASS_F1 = "f1_of_means_with_background", "dice"
TILE, ROW = 2.0, 0.34
"""Inches: a tile's side, and the height of an organ or a class among the scores."""
COLOURS = colormaps["tab10"]
"""Of the systems."""


def draw_compared(runs: Sequence[EvaluatedRun], out: Path) -> list[Path]:
    """Draws `segmentations.png` and `f1.png` of evaluated runs into the folder `out`; returns their paths.

    Both are made before either is written. Runs of one method are one system: its mean is drawn, and its first run.

    Raises:
        InputError: no run is given, a run was evaluated on other tiles, splits or classes than the first, or keeps no
            tiles.
    """
    if not runs:
        raise InputError("no run is given: name the folders of evaluations")
    systems = group_runs(runs, "system")
    _refuse_unlike(systems)
    figures = {"segmentations": draw_segmentations(systems), "f1": draw_f1(systems)}
    for name, figure in figures.items():
        save(out / f"{name}.png", figure)
    return [out / f"{name}.png" for name in figures]


def draw_segmentations(systems: Mapping[str, Sequence[EvaluatedRun]]) -> Figure:
    """Contours of nuclei in the colours of their classes (Figs. 4 and 7): a row a tile, truth first, then each system.

    The tiles are those of `handlers.choose_tiles`, chosen by the truth alone. Systems that find their own nuclei have
    these, others those of the watershed.
    """
    first, *_ = next(iter(systems.values()))
    wanted = _kept(first)
    columns = {name: _same_tiles(first, wanted, group) for name, group in systems.items()}
    names = wanted["names"].tolist()
    figure = Figure(figsize=(TILE * (2 + len(columns)), TILE * len(names) + 0.6), layout="constrained")
    cells = figure.subplots(len(names), 2 + len(columns), squeeze=False)
    truth_colors = [(int(red), int(green), int(blue)) for red, green, blue in wanted["colors"]]
    class_colors = [c.color for c in first.class_table.classes]
    for row, (axes, name) in enumerate(zip(cells, names, strict=True)):
        image = wanted[f"{row}_image"]
        pictures = [image, _drawn(wanted, row, ("truth", "true_nuclei"), truth_colors)]
        pictures += [_drawn(kept, row, ("predicted", "nuclei"), class_colors) for kept in columns.values()]
        for cell, picture in zip(axes, pictures, strict=True):
            cell.imshow(picture)
            cell.set(xticks=[], yticks=[])
        axes[0].set_ylabel(textwrap.fill(name, 32, max_lines=3, placeholder=" …"), fontsize=7, color=INK)
    for cell, title in zip(cells[0], ("image", "truth", *columns), strict=True):
        cell.set_title(textwrap.fill(title, 26), fontsize=9, color=INK)
    key = [Patch(color=np.array(c.color) / 255, label=c.name) for c in first.class_table.nuclei]
    figure.legend(handles=key, loc="outside lower center", ncols=min(6, len(key)), frameon=False, fontsize=8)
    return figure


def draw_f1(systems: Mapping[str, Sequence[EvaluatedRun]]) -> Figure:
    """F1 of every system by organ (Fig. 5) and by class; filled ours, hollow what the paper prints of its systems.

    Of organs it is the macro mean over classes with background (Table 2), of classes that of pixels (Table 1).
    """
    runs = [run for group in systems.values() for run in group]
    found = {organ for run in runs for organ in run.scores["organs"]} - {POOLED}
    organs = [*(organ for organ in TISSUES if organ in found), *sorted(found - {*TISSUES})]
    classes = [c.name for c in runs[0].class_table.nuclei]
    ordered = [name for name in CLASS_ORDER if name in classes] + [n for n in classes if n not in CLASS_ORDER]
    height = 1.6 + ROW * max(len(organs), len(ordered)) + 0.2 * len(systems)
    figure = Figure(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    of_paper = {"MONCH", *(run.row for run in runs)}
    for number, (name, group) in enumerate(systems.items()):
        color, shift = COLOURS(number), _shift(number, len(systems))
        by_organ = [[r.scores["organs"][o] for r in group if o in r.scores["organs"]] for o in organs]
        by_class = [[r.scores["classes"][c] for r in group if c in r.scores["classes"]] for c in ordered]
        _points(left, [mean_score(s, ORGAN_F1) for s in by_organ], shift, color, name)
        _points(right, [mean_score(s, CLASS_F1) for s in by_class], shift, color, name)
    for system, color in _paper_colours(systems).items():
        if system not in of_paper:
            continue
        label = f"{system}, as the paper prints it"
        of_organ, of_class = TABLE_2.get(system, {}), dict(zip(CLASS_ORDER, TABLE_1.get(system, []), strict=False))
        _hollow(left, [of_organ.get(organ, [None] * 3)[2] for organ in organs], color, label)
        _hollow(right, [of_class.get(c, [None] * 3)[2] for c in ordered], color, label)
    for axes, names, title in (
        (left, organs, "by organ (macro over classes, with background)"),
        (right, ordered, "by class (pixels)"),
    ):
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel=f"F1 {title}")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles = {line.get_label(): line for axes in (left, right) for line in axes.lines if line.get_marker() in "oD"}
    shown = [line for label, line in handles.items() if not str(label).startswith("_")]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _refuse_unlike(systems: Mapping[str, Sequence[EvaluatedRun]]) -> None:
    """Refuses runs of other data or classes than the first run, and systems on other parts than the first system."""
    first, *others = systems.values()
    for what, of, compared in (
        ("classes", _classes, ([first[0]], *systems.values())),
        ("data", _data, ([first[0]], *systems.values())),
        ("split or part", _part, (first, *others)),
    ):
        known = {of(run): run for run in compared[0]}
        for group in compared[1:]:
            given = {of(run): run for run in group}
            if known.keys() == given.keys():
                continue
            run = next((r for value, r in given.items() if value not in known), group[0])
            beside = f"{', '.join(sorted(given))} beside {', '.join(sorted(known))} of {first[0].folder}"
            raise InputError(f"{run.folder} was evaluated on another {what} ({beside}): compare runs of the same")


def _classes(run: EvaluatedRun) -> str:
    return "/".join(run.class_table.names)


def _data(run: EvaluatedRun) -> str:
    return str(run.record["data_fingerprint"])[:12]


def _part(run: EvaluatedRun) -> str:
    settings = run.record["settings"]
    return f"split {settings.get('split')} {settings.get('evaluated_part', 'test')}"


def _kept(run: EvaluatedRun) -> Arrays:
    """Tiles that an evaluation keeps.

    Raises:
        InputError: the evaluation keeps none, or its file is damaged.
    """
    path = run.folder / COMPARED
    if not path.is_file():
        raise InputError(f"{run.folder} keeps no tiles to compare (no {COMPARED}): evaluate again with this version")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        for row in range(len(arrays["names"])):
            for part in ("image", "truth", "true_nuclei", "predicted", "nuclei"):
                arrays[f"{row}_{part}"]
        arrays["colors"]
    except Exception as error:  # zip and array errors have no common base
        raise InputError(f"{path} cannot be read ({type(error).__name__}): evaluate again") from error
    if not len(arrays["names"]):
        raise InputError(f"{run.folder} keeps no tiles to compare: none of those evaluated has nuclei")
    return arrays


def _same_tiles(first: EvaluatedRun, wanted: Arrays, group: Sequence[EvaluatedRun]) -> Arrays:
    """Tiles of the first run of a system that are those of the first run of all."""
    for run in group:
        kept = _kept(run)
        if all(
            n in kept and np.array_equal(of, kept[n]) for n, of in wanted.items() if n.endswith(("names", "_image"))
        ):
            return kept
    raise InputError(f"{group[0].folder} keeps other tiles than {first.folder}: evaluate both on the same split")


def _drawn(kept: Arrays, row: int, maps: tuple[str, str], colors: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    class_map, nuclei = (kept[f"{row}_{name}"] for name in maps)
    return draw_contours(kept[f"{row}_image"], class_map, colors, instance_map=nuclei)


def _points(axes: Axes, scores: Sequence[Any], shift: float, color: Any, label: str) -> None:
    for y, score in enumerate(scores):
        if score is None:
            continue
        low, high = (score.low, score.high) if score.sd is None else (score.value - score.sd, score.value + score.sd)
        if low is not None:
            axes.plot([low, high], [y + shift] * 2, color=color, linewidth=1.5, solid_capstyle="round", label="_")
        axes.plot(score.value, y + shift, "o", ms=5, color=color, label=label)


def _hollow(axes: Axes, values: Sequence[float | None], color: Any, label: str) -> None:
    for y, value in enumerate(values):
        if value is not None:
            axes.plot(value, y, "D", ms=5, mfc="none", color=color, label=label)


def _paper_colours(systems: Mapping[str, Sequence[EvaluatedRun]]) -> dict[str, Any]:
    """Colour of each of the paper's systems: that of ours of the name, else grey."""
    ours = {group[0].row: COLOURS(number) for number, group in reversed(list(enumerate(systems.values())))}
    return {system: ours.get(system, "#999999") for system in TABLE_1}


def _shift(number: int, count: int) -> float:
    return 0.0 if count == 1 else 0.6 * (number / (count - 1) - 0.5)
