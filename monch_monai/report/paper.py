"""The numbers of the paper's tables, as printed (Zhang et al.), to compare ours with. They stand in `paper.toml`."""

import tomllib
from importlib import resources

_PAPER = tomllib.loads(resources.files("monch_monai.report").joinpath("paper.toml").read_text("utf-8"))

CLASS_ORDER: list[str] = _PAPER["class_order"]
"""The paper's order of classes."""
TABLE_1: dict[str, list[list[float]]] = _PAPER["table_1"]
"""System to IoU, precision and F1 of each class in `CLASS_ORDER`; scores of pixels summed over the test set."""
TABLE_1_MILLISECONDS: dict[str, float] = _PAPER["table_1_milliseconds"]
"""Inference time of Table 1; hardware RTX 3090, its other conditions not said."""
TABLE_2: dict[str, dict[str, list[float]]] = _PAPER["table_2"]
"""System to tissue to IoU, FWIoU and F1 (means over classes, background included)."""
F1_TABLES: dict[int, dict[str, list[float]]] = {number: _PAPER[f"table_{number}"] for number in range(3, 8)}
"""Tables 3 to 7: row to the F1 of each class in `CLASS_ORDER`."""
