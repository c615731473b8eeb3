"""Figures of an evaluation and of a training, from the files they wrote."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from monch_monai.class_table import ClassTable, NucleusClass
from monch_monai.files import write_atomically
from monch_monai.metrics.rows import POOLED
from monch_monai.report.evaluated_run import read_json
from monch_monai.report.paper import TABLE_2

INK = "#333333"


def class_color(c: NucleusClass) -> tuple[float, ...]:
    """The class's colour in matplotlib's format (0 to 1), darker by a fifth to be legible on white."""
    return tuple(0.8 * value / 255 for value in c.color)


def draw_organs(scores: Mapping[str, Any]) -> Figure:
    """F1 of each organ with its interval, beside the paper's MONCH (Fig. 5)."""
    key = "f1_of_means_with_background"
    organs = [organ for organ in scores["organs"] if organ != POOLED]
    figure, (axes,) = _figure(8, 1.4 + 0.28 * len(organs))
    for y, organ in enumerate(organs):
        row = scores["organs"][organ]
        if row[key] is None:
            continue
        axes.plot([row[f"{key}_low"], row[f"{key}_high"]], [y, y], color="#4477aa", linewidth=2, solid_capstyle="round")
        axes.plot(row[key], y, "o", color="#4477aa", label=_once(axes, "this run, 95 % interval"))
        if organ in TABLE_2["MONCH"]:
            axes.plot(TABLE_2["MONCH"][organ][2], y, "D", mfc="none", color=INK, label=_once(axes, "paper"))
    axes.set_yticks(range(len(organs)), [f"{organ} ({scores['organs'][organ]['images']})" for organ in organs])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="F1 (macro over classes, with background)")
    axes.grid(axis="x", alpha=0.3)
    _legend(axes, loc="lower left")
    return figure


def draw_confusion(matrix: ArrayLike, labels: Sequence[str], classes: Sequence[str]) -> Figure:
    """Confusion matrix of labels and predicted classes, each row as shares of the truth's pixels of that label."""
    counts = np.asarray(matrix, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    figure, (axes,) = _figure(6, 5)
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="truth")
    for (row, column), share in np.ndenumerate(shares):
        text = "–" if np.isnan(share) else f"{share:.3f}"
        axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.5 else INK, fontsize=9)
    return figure


def draw_reliability(calibration: Mapping[str, Any], class_table: ClassTable) -> Figure:
    """Share of pixels that are of a class, by the probability that the network gave it.

    Args:
        calibration: `calibration.json`: of each class the mean probability and the share of pixels, by bin.
        class_table: the classes.
    """
    figure, (axes,) = _figure(5.5, 5)
    axes.plot([0, 1], [0, 1], "--", color="#999999", linewidth=1)
    for c in class_table.nuclei:
        row = calibration["classes"][c.name]
        points = [(p, s) for p, s in zip(row["probability"], row["share"], strict=True) if p is not None]
        error = row["expected_calibration_error"]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", ms=4, color=class_color(c), label=f"{c.name} (ECE {error:.3f})")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="probability given", ylabel="share of pixels of the class")
    _legend(axes, fontsize=8)
    return figure


def draw_training(history: Path, class_table: ClassTable) -> Figure:
    """Loss and Dice of each epoch of a training's `history.csv`; epochs without validation have no Dice."""
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [float(row[name]) if row[name] else np.nan for row in rows] for name in rows[0]}
    figure, (left, right) = _figure(9, 3.2, columns=2)
    epochs = columns["epoch"]
    left.plot(epochs, columns["loss"], "o-", ms=3, color=INK)
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    for c in class_table.nuclei:
        if f"dice {c.name}" in columns:
            right.plot(epochs, columns[f"dice {c.name}"], "o-", ms=2, linewidth=1, color=class_color(c), label=c.name)
    if "mean_dice" in columns:
        right.plot(epochs, columns["mean_dice"], "o-", ms=3, color=INK, linewidth=2, label="mean")
    right.set(xlabel="epoch", ylabel="validation Dice", ylim=(0, 1))
    _legend(right, fontsize=8, ncols=2)
    return figure


def draw_feature_maps(
    image: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.float32]],
    by_class: Mapping[str, Mapping[str, NDArray[np.float32]]] | None = None,
) -> Figure:
    """A tile and its feature maps, stage by stage (Fig. 6), and maps by class where they are given.

    Args:
        image: `[H, W, 3]`.
        maps: name to the length of the feature vector at each place, `[h, w]`; each from its least to its most.
        by_class: kind of map to class to map `[h, w]`, a row a kind; each from its least to its most too.
    """
    kinds = by_class or {}
    columns = max((len(maps) + 2) // 2, *(len(of) for of in kinds.values()), 1)
    rows = 2 + len(kinds)
    figure = Figure(figsize=(1.9 * columns, 2.15 * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False)
    for cell in cells.ravel():
        cell.axis("off")
    cells[0, 0].imshow(image)
    cells[0, 0].set_title("image", fontsize=9)
    shown = [*zip(cells[:2].ravel()[1:], maps.items(), strict=False)]
    for row, (kind, of) in zip(cells[2:], kinds.items(), strict=True):
        shown += [*zip(row, ((f"{kind}: {name}", values) for name, values in of.items()), strict=False)]
    for cell, (name, values) in shown:
        cell.imshow(values, cmap="magma", extent=(0, image.shape[1], image.shape[0], 0), interpolation="bilinear")
        cell.set_title(name, fontsize=9)
    return figure


def save(path: Path, figure: Figure) -> None:
    """Writes a figure as PNG. Atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: figure.savefig(part, dpi=130))


def draw_all(folder: Path, class_table: ClassTable, history: Path | None) -> None:
    """Draws the figures whose files the folder of an evaluation holds, into its `figures/`.

    Args:
        folder: of the evaluation.
        class_table: the classes of the predictions.
        history: `history.csv` of the training; None leaves the training's figure as it is.
    """
    scores, calibration = read_json(folder / "scores.json"), read_json(folder / "calibration.json")
    figures = folder / "figures"
    save(figures / "f1_by_organ.png", draw_organs(scores))
    save(
        figures / "confusion.png",
        draw_confusion(scores["confusion_matrix"], scores.get("labels", class_table.names), class_table.names),
    )
    if calibration is not None:
        save(figures / "reliability.png", draw_reliability(calibration, class_table))
    if history is not None:
        (figures / "training.png").unlink(missing_ok=True)  # of another checkpoint's training
        if history.is_file():
            save(figures / "training.png", draw_training(history, class_table))


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False).ravel())
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _once(axes: Axes, label: str) -> str | None:
    return None if label in axes.get_legend_handles_labels()[1] else label


def _legend(axes: Axes, **where: Any) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, **where)
