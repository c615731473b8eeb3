"""The key metric and the table of scores by class."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from numpy.typing import NDArray

from monch_monai.class_table import LabelSets
from monch_monai.errors import InputError
from monch_monai.handlers.items import UNKNOWN, gather_by_image, name_of, with_origins
from monch_monai.handlers.score_files import write_scores
from monch_monai.metrics import ImageCounts, ScoreRow, confusion_matrix, mean_dice, score_rows

logger = logging.getLogger(__name__)


class Record(NamedTuple):
    """Record of one image: its tissue, source and dataset, and its pixel counts `[L, T]` int64."""

    tissue: str
    source: str
    dataset: str
    matrix: NDArray[np.int64]


class MeanDice(Metric):
    """Mean Dice over the nucleus classes present in the set, from pixel counts summed over it (`metrics.mean_dice`).

    Of several datasets it is the mean of each dataset's.

    Takes an evaluator's decollated items: `image` with its file's name, class maps `pred` and `label`, `[1, H, W]`, and
    `tissue`, `source` and `dataset` where the batch has them. Counts are kept by image, so that an image seen twice (a
    distributed sampler fills up its last batch) counts once, and two processes give exactly what one gives. The
    engine's `state.metric_details["image_counts"]`, an `ImageCounts`, has them.

    Args:
        labels: what the values of `label` stand for.
        output_transform: of the engine's items, as every Ignite metric has it.
    """

    def __init__(self, labels: LabelSets, output_transform: Callable[[Any], Any] = lambda output: output) -> None:
        self.labels = labels
        super().__init__(output_transform=output_transform)

    def reset(self) -> None:
        """Drops all counts."""
        self.records: dict[str, Record] = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Counts the engine's batch, with tissues and sources from its input."""
        self.update(self._output_transform([{**origin, **item} for origin, item in with_origins(engine)]))

    def update(self, output: list[dict[str, Any]]) -> None:
        """Counts a batch.

        Raises:
            InputError: an image's prediction has another size than its truth, or one of them a value that is no class.
        """
        for item in output:
            pred, label = (torch.as_tensor(item[key]).detach().cpu() for key in ("pred", "label"))
            name = name_of(item)
            try:
                matrix = confusion_matrix(pred, label, self.labels).numpy()
            except ValueError as error:
                raise InputError(f"{name}: {error}; check the tile's label and the network's output") from error
            tissue, source, dataset = (str(item.get(key) or UNKNOWN) for key in ("tissue", "source", "dataset"))
            self.records[name] = Record(tissue, source, dataset, matrix)

    def compute(self) -> float:
        """Mean Dice, NaN where no class is present."""
        self.records = gather_by_image(self.records)
        return self.counts().mean_dice

    def counts(self) -> ImageCounts:
        """Counts of every image, in order of names; of all processes once `compute` has run."""
        records = list(self.records.values())
        return ImageCounts(
            images=list(self.records),
            tissues=[record.tissue for record in records],
            sources=[record.source for record in records],
            datasets=[record.dataset for record in records],
            matrices=np.array([r.matrix for r in records], dtype=np.int64).reshape(
                -1, len(self.labels), len(self.labels.table)
            ),
            labels=self.labels,
        )

    def completed(self, engine: Engine, name: str) -> None:
        """Stores score and counts in the engine's state."""
        super().completed(engine, name)
        engine.state.metric_details["image_counts"] = self.counts()


class ScoreTable:
    """Logs scores by class when an evaluation by `MeanDice` is over, and writes all scores where a folder is given.

    Args:
        output_dir: folder for the files of `write_scores`; None writes nothing.
    """

    def __init__(self, output_dir: str | Path | None = None) -> None:
        self.output_dir = output_dir

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Logs and writes the scores."""
        if idist.get_rank() > 0:
            return
        counts: ImageCounts = engine.state.metric_details["image_counts"]
        of = f" of epoch {engine.state.epoch}" if self.output_dir is None else ""
        groups = counts.by_dataset
        for name, matrix in groups.items():
            named = f" on {name}" if len(groups) > 1 else ""
            rows = format_rows(score_rows(matrix, counts.labels), mean_dice(matrix, counts.labels))
            logger.info("scores%s%s\n%s", of, named, rows)
        if self.output_dir is not None:
            write_scores(Path(self.output_dir), counts)


def format_rows(rows: list[ScoreRow], mean: float) -> str:
    """The table as text; an undefined score is a dash."""

    def numbers(*values: float) -> str:
        return "".join(f"{'-' if math.isnan(value) else f'{value:.4f}':>11}" for value in values)

    lines = [f"{'class':<24}{'Dice':>11}{'IoU':>11}{'precision':>11}{'recall':>11}{'pixels':>13}"]
    lines += [f"{row.name:<24}{numbers(row.dice, row.iou, row.precision, row.recall)}{row.pixels:>13,}" for row in rows]
    return "\n".join([*lines, f"{'mean of nucleus classes':<24}{numbers(mean)}"])
