"""Scores from counts of pixels and of nuclei."""

from monch_monai.metrics.bootstrap import Interval, draws, interval, resample
from monch_monai.metrics.confusion import confusion_matrix
from monch_monai.metrics.image_counts import ImageCounts
from monch_monai.metrics.means import PaperScores, Spread, by_tissue, over_organs, paper_scores, summary
from monch_monai.metrics.pixels import (
    PixelScores,
    ScoreRow,
    any_nucleus,
    frequency_weighted_iou,
    mean_dice,
    pixel_accuracy,
    pixel_scores,
    score_rows,
)

__all__ = [
    "ImageCounts",
    "Interval",
    "PaperScores",
    "PixelScores",
    "ScoreRow",
    "Spread",
    "any_nucleus",
    "by_tissue",
    "confusion_matrix",
    "draws",
    "frequency_weighted_iou",
    "interval",
    "mean_dice",
    "over_organs",
    "paper_scores",
    "pixel_accuracy",
    "pixel_scores",
    "resample",
    "score_rows",
    "summary",
]
