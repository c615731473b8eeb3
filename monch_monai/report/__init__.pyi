from .compared import draw_compared
from .evaluated_run import EvaluatedRun
from .feature_maps import draw_features
from .inference_time import measure_inference
from .page import write_report
from .table_files import to_markdown, write_table
from .tables import paper_table
from .words import draw_picture_words, draw_words

__all__ = [
    "EvaluatedRun",
    "draw_compared",
    "draw_features",
    "draw_picture_words",
    "draw_words",
    "measure_inference",
    "paper_table",
    "to_markdown",
    "write_report",
    "write_table",
]
