"""Where prepared datasets come from: PanNuke, CoNSeP, a sample of real tissue, and tiles made by code."""

from pathlib import Path

import ignite.distributed as idist

from monch_monai.data import Tiles
from monch_monai.datasets.consep import prepare_consep
from monch_monai.datasets.pannuke import prepare_pannuke
from monch_monai.datasets.sample import prepare_sample
from monch_monai.datasets.synthetic import write_synthetic

__all__ = ["open_tiles", "prepare_consep", "prepare_pannuke", "prepare_sample", "write_synthetic"]


def open_tiles(dataset_dir: str | Path | None, sample_dir: str | Path) -> Tiles:
    """The prepared dataset in `dataset_dir`, or where that is None the sample of real tissue, made in `sample_dir`.

    Of the processes of one machine the first makes the sample.

    Raises:
        InputError: `dataset_dir` is no prepared dataset (see `Tiles`), or the sample cannot be made.
    """
    if dataset_dir is not None:
        return Tiles(dataset_dir)
    with idist.one_rank_first(local=True):
        return Tiles(prepare_sample(sample_dir))
