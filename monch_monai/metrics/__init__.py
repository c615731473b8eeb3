"""Scores from counts of pixels and of nuclei."""

from monch_monai.metrics.bootstrap import draws, interval, resample
from monch_monai.metrics.confusion import ImageCounts, confusion_matrix
from monch_monai.metrics.detection import classification_scores, detection_matrix, detection_scores
from monch_monai.metrics.instances import Instances, drop_ignored, instances
from monch_monai.metrics.means import by_tissue, over_organs, paper_scores, summary
from monch_monai.metrics.panoptic import pannuke_pq, panoptic_counts, panoptic_quality, pooled_pq
from monch_monai.metrics.pixels import ScoreRow, any_nucleus, mean_dice, pixel_accuracy, pixel_scores, score_rows

__all__ = [
    "ImageCounts", "Instances", "ScoreRow", "any_nucleus", "by_tissue", "classification_scores", "confusion_matrix",
    "detection_matrix", "detection_scores", "draws", "drop_ignored", "instances", "interval", "mean_dice",
    "over_organs", "pannuke_pq", "panoptic_counts", "panoptic_quality", "paper_scores", "pixel_accuracy",
    "pixel_scores", "pooled_pq", "resample", "score_rows", "summary",
]  # fmt: skip
