"""Scores of single nuclei."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX, LabelSets
from monch_monai.data import read_instance_map
from monch_monai.errors import InputError
from monch_monai.files import write_json, write_rows
from monch_monai.handlers.items import UNKNOWN, ImageRecords, class_map_of, name_of, probs_and_distance
from monch_monai.metrics import Instances, detection_matrix, drop_ignored, instances, panoptic_counts
from monch_monai.metrics.nucleus_rows import nucleus_class_rows, nucleus_intervals, nucleus_means, nucleus_organ_rows
from monch_monai.nuclei import WatershedNuclei

logger = logging.getLogger(__name__)


class Record(NamedTuple):
    """Record of one image: tissue, panoptic counts `[L, 4]` and detection matrix `[L, T]`."""

    tissue: str
    panoptic: NDArray[np.float64]
    detection: NDArray[np.int64]


class NucleusScores(ImageRecords[Record]):
    """Finds the nuclei of the predicted class maps, compares them with the truth's and writes their scores.

    `nuclei.csv`: a row a class; `nuclei_by_organ.csv`: a row an organ; `nuclei.json`: mPQ and bPQ by every rule of
    `metrics.panoptic`, with 95 % image-bootstrap intervals. True nuclei of class 255, and predicted ones mostly on
    pixels of 255, do not count.

    For an evaluator of decollated items. Its batch has `instances` (reference of the true instance map) and maybe
    `tissue`; its output has `image`, class maps `pred` and `label`, and the probabilities `probs`, or `instance_map`
    where nuclei are found otherwise.

    Args:
        output_dir: folder for the files, made if absent.
        watershed: finds the nuclei of class maps.
        labels: what the values of `label` stand for.
    """

    def __init__(self, output_dir: str | Path, watershed: WatershedNuclei, labels: LabelSets) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.watershed, self.labels = watershed, labels

    def collect(self, engine: Engine) -> None:
        """Counts a batch.

        Raises:
            InputError: the maps of a tile have different sizes, or hold a value that is no class.
        """
        for given, item in zip(engine.state.batch, engine.state.output, strict=True):
            try:
                y_pred, y = self._nuclei(given, item)
            except ValueError as error:
                raise InputError(f"{name_of(item)}: {error}; check the tile's labels, or prepare it again") from error
            tissue = str(given.get("tissue") or UNKNOWN)
            counts = panoptic_counts(y_pred, y, self.labels), detection_matrix(y_pred, y, self.labels)
            self.records[name_of(item)] = Record(tissue, *counts)

    def write(self, engine: Engine) -> None:
        """Writes the files and logs the means."""
        records = list(self.records.values())
        tissues = [record.tissue for record in records]
        panoptic = np.stack([record.panoptic for record in records])
        detection = np.stack([record.detection for record in records])
        means, ends = nucleus_means(panoptic, tissues), nucleus_intervals(panoptic, tissues)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        classes = nucleus_class_rows(panoptic, detection, tissues, self.labels)
        write_rows(self.output_dir / "nuclei.csv", classes)
        write_rows(self.output_dir / "nuclei_by_organ.csv", nucleus_organ_rows(panoptic, tissues))
        scores = {
            "images": len(records),
            **{name: {"value": value, "low": ends[name][0], "high": ends[name][1]} for name, value in means.items()},
            "classes": {str(row.pop("name")): row for row in classes},
            "detection_matrix": detection.sum(axis=0),
        }
        write_json(self.output_dir / "nuclei.json", scores)
        logger.info("nuclei: %s", ", ".join(f"{name} {value:.4f}" for name, value in means.items()))

    def _nuclei(self, given: dict[str, Any], item: dict[str, Any]) -> tuple[Instances, Instances]:
        pred, label = (class_map_of(item, key) for key in ("pred", "label"))
        if "instance_map" in item:
            y_pred = instances(torch.as_tensor(item["instance_map"])[0].cpu().numpy(), pred, len(self.labels.table))
        else:
            nuclei = self.watershed(pred, *probs_and_distance(item))
            y_pred = Instances(nuclei.instance_map.astype(np.int64), np.append(np.uint8(0), nuclei.classes))
        y = instances(read_instance_map(given["instances"]), label, len(self.labels))
        return drop_ignored(y_pred, y, label == IGNORE_INDEX)
