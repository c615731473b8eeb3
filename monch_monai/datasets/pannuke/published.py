"""PanNuke as published: addresses, checksums and counts (Gamper et al., 2020; counts from audits of the files)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class PublishedFold(NamedTuple):
    """One fold: archive size in bytes, its SHA-256, number of tiles, and nuclei of each class in channel order."""

    archive_bytes: int
    archive_sha256: str
    tiles: int
    nuclei: Sequence[int]


ADDRESS = "https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke"
"""Where `fold_1.zip`, `fold_2.zip` and `fold_3.zip` lie."""

_RECORDED = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))

FOLDS = {int(number): PublishedFold(**fold) for number, fold in _RECORDED.items()}

SPLITS = {
    "1": {"train": ["fold1"], "validation": ["fold2"], "test": ["fold3"]},
    "2": {"train": ["fold2"], "validation": ["fold1"], "test": ["fold3"]},
    "3": {"train": ["fold3"], "validation": ["fold2"], "test": ["fold1"]},
}
"""The three-fold protocol of the dataset paper."""

LICENSE = "CC BY-NC-SA 4.0 (PanNuke, Gamper et al. 2019 and 2020); not for commercial use"
