"""Calibration: probabilities against the share of pixels that are of the class."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX, LabelSets
from monch_monai.files import write_json
from monch_monai.handlers.items import ImageRecords, class_map_of, name_of

BINS = 15


def calibration_counts(probs: NDArray[np.floating], label: NDArray[np.uint8], labels: LabelSets) -> NDArray[np.float64]:
    """By nucleus class and bin of probability: pixels, sum of probabilities, pixels of the class, `[T - 1, 15, 3]`.

    Args:
        probs: `[T - 1, H, W]`, of each nucleus class by itself.
        label: class map `[H, W]`; pixels of 255 are not counted, and those of several classes for none of these.
        labels: what the values of `label` stand for.
    """
    counts = np.zeros((len(probs), BINS, 3))
    for index, of_class in enumerate(counts, start=1):
        unknown = [value for value, members in enumerate(labels.sets) if index in members and len(members) > 1]
        counted = ~np.isin(label, [IGNORE_INDEX, *unknown])
        values = probs[index - 1, counted].astype(np.float64)
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        for column, weights in enumerate((None, values, label[counted] == index)):
            of_class[:, column] = np.bincount(bins, weights, BINS)
    return counts


def expected_calibration_error(counts: NDArray[np.float64]) -> float:
    """Mean distance of probability and share over bins `[15, 3]`, weighted by their pixels (Naeini et al., 2015).

    NaN where there are no pixels.
    """
    pixels, probability, share = counts.T
    return float(np.abs(probability - share).sum() / pixels.sum())


class Calibration(ImageRecords[NDArray[np.float64]]):
    """Writes `calibration.json`: by class, mean probability and share of pixels in 15 bins, and the calibration error.

    For an evaluator of decollated items with `probs` and `label`.

    Args:
        output_dir: folder for the file, made if absent.
        labels: what the values of `label` stand for.
    """

    def __init__(self, output_dir: str | Path, labels: LabelSets) -> None:
        super().__init__()
        self.labels = labels
        self.output_dir = Path(output_dir)

    def collect(self, engine: Engine) -> None:
        """Counts a batch."""
        for item in engine.state.output:
            probs = torch.as_tensor(item["probs"]).cpu().numpy()
            self.records[name_of(item)] = calibration_counts(probs, class_map_of(item, "label"), self.labels)

    def write(self, engine: Engine) -> None:
        """Writes the file."""
        total = np.sum(list(self.records.values()), axis=0)
        classes: dict[str, dict[str, Any]] = {}
        for c, counts in zip(self.labels.table.nuclei, total, strict=True):
            with np.errstate(invalid="ignore"):
                probability, share = counts[:, 1] / counts[:, 0], counts[:, 2] / counts[:, 0]
                error = expected_calibration_error(counts)
            classes[c.name] = {
                "pixels": counts[:, 0], "probability": probability, "share": share, "expected_calibration_error": error,
            }  # fmt: skip
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.output_dir / "calibration.json", {"bins": BINS, "classes": classes})
