"""Reports: the paper's tables, figures, and one page about an evaluation."""

from monch_monai.report.evaluated_run import EvaluatedRun
from monch_monai.report.feature_maps import draw_features
from monch_monai.report.inference_time import measure_inference
from monch_monai.report.page import write_report
from monch_monai.report.table_files import to_markdown, write_table
from monch_monai.report.tables import paper_table
from monch_monai.report.words import draw_picture_words, draw_words

__all__ = [
    "EvaluatedRun",
    "draw_features",
    "draw_picture_words",
    "draw_words",
    "measure_inference",
    "paper_table",
    "to_markdown",
    "write_report",
    "write_table",
]
