"""Scores from pixel counts."""

from monch_monai.metrics.confusion import ScoreRow, confusion_matrix, mean_dice, score_rows

__all__ = ["ScoreRow", "confusion_matrix", "mean_dice", "score_rows"]
