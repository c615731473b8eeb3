"""Learning curves of trainings side by side: `python scripts/learning_curves.py RUN RUN --out curves.png`."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.arguments import run
from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.files import write_atomically
from monch_monai.handlers.checkpoints import HISTORY


def draw(*runs: Path, out: Path, score: str = "dice any nucleus", minutes: Sequence[float] | None = None) -> None:
    """Draws a score of validations by epoch and by time, and prints it as a table.

    The time of an epoch is that of the run's fastest, since others may have shared the machine.

    Args:
        runs: folders of trainings, each named by its last part.
        out: PNG to write.
        score: column of `history.csv`.
        minutes: an epoch of each run, measured apart, for runs that did not have the machine on equal terms.

    Raises:
        InputError: no run is given, a run has no history, or the numbers of `minutes` and runs differ.
    """
    if not runs:
        raise InputError("no run: give the folders of trainings")
    if minutes is not None and len(minutes) != len(runs):
        raise InputError(f"{len(minutes)} minutes for {len(runs)} runs: give --minutes one number for each, as '[2,1]'")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    print(f"| run | minutes an epoch | {score} after each validated epoch |\n|---|---|---|")
    for number, folder in enumerate(runs):
        history = _history(folder)
        rows = [row for row in history if row.get(score)]
        an_epoch = minutes[number] if minutes else min(float(row["seconds"]) for row in history) / 60
        epochs, values = [int(row["epoch"]) for row in rows], [float(row[score]) for row in rows]
        by_epoch.plot(epochs, values, marker=".", label=folder.name)
        by_time.plot([an_epoch * epoch for epoch in epochs], values, marker=".", label=folder.name)
        validated = ", ".join(f"{epoch}: {value:.3f}" for epoch, value in zip(epochs, values, strict=True))
        print(f"| {folder.name} | {an_epoch:.1f} | {validated} |")
    by_epoch.set(xlabel="epochs (the same tiles)", ylabel=score)
    by_time.set(xlabel="minutes")
    by_time.legend()
    for axes in (by_epoch, by_time):
        axes.grid(alpha=0.3)
    write_atomically(out, lambda part: figure.savefig(part, format="png", dpi=110))


def _history(folder: Path) -> list[dict[str, str]]:
    path = folder / HISTORY
    if not path.is_file():
        raise InputError(f"{folder} has no {HISTORY}: give the folder of a training")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    show_input_errors_in_one_line()
    run(draw, "learning_curves.py")
