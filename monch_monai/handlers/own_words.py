"""Scores by the words that a network was trained with, beside those by other words."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from numpy.typing import NDArray

from monch_monai.class_table import LabelSets
from monch_monai.data import ClassMapReader, TileLabels
from monch_monai.files import write_json
from monch_monai.handlers.items import ImageRecords, name_of, with_origins
from monch_monai.metrics import confusion_matrix, score_rows
from monch_monai.networks.rewording import Rewording
from monch_monai.predict import class_map

logger = logging.getLogger(__name__)


class OwnWords(ImageRecords[NDArray[np.int64]]):
    """Writes `words.json`: Dice of each class by a network's own words, and by the other words that are evaluated.

    Does nothing where the network has its own words. For an evaluator of decollated items whose batch has `image` and
    `label`.

    Args:
        output_dir: folder for the file, made if absent.
        rewording: of the network that is evaluated.
        inferer: applies a network to images.
        tile_labels: of the datasets, in the classes of the other words.
    """

    def __init__(self, output_dir: str | Path, rewording: Rewording, inferer: Any, tile_labels: TileLabels) -> None:
        super().__init__()
        self.output_dir, self.rewording, self.inferer = Path(output_dir), rewording, inferer
        self.labels = None if rewording.own is None else tile_labels.in_classes(rewording.own.class_table)

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator, where there are other words."""
        if self.rewording.own is not None:
            super().attach(engine)

    @torch.no_grad()
    def collect(self, engine: Engine) -> None:
        """Counts a batch by the network's own words."""
        own, labels = self.rewording.own, self.labels
        if own is None or labels is None:
            return
        reader, device = ClassMapReader(labels), next(self.rewording.network.parameters()).device
        own.to(device)
        for given, item in with_origins(engine):
            image = torch.as_tensor(given["image"])[None].to(device)
            found = class_map(self.inferer(image, own).float(), len(own.class_table))[0].cpu()
            truth, _ = reader.get_data([given["label"].meta["filename_or_obj"]])
            self.records[name_of(item)] = confusion_matrix(found, torch.from_numpy(truth)[None], labels.sets).numpy()

    def write(self, engine: Engine) -> None:
        """Writes the file and logs the scores."""
        own, counts = self.labels, engine.state.metric_details["image_counts"]
        if own is None:
            return
        before = _dice(np.sum(list(self.records.values()), axis=0), own.sets)
        after = _dice(counts.matrix, counts.labels)
        costs = {cost.name: cost._asdict() for cost in self.rewording.costs}
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.output_dir / "words.json", {"own": before, "words": after, "costs": costs})
        logger.info("Dice by the network's own words and by these:")
        for name in dict.fromkeys([*before, *after]):
            logger.info("  %-24s %s  %s", name, *(_text(scores.get(name)) for scores in (before, after)))


def _dice(matrix: NDArray[np.int64], labels: LabelSets) -> dict[str, float]:
    return {row.name: row.dice for row in score_rows(matrix, labels)}


def _text(value: float | None) -> str:
    return "     -" if value is None or np.isnan(value) else f"{value:.4f}"
