"""The prepared datasets that a command names by `--dataset_dir`."""

from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist

from monch_monai.data import SeveralTiles, Tiles
from monch_monai.datasets.sample import prepare_sample
from monch_monai.settings import text


def open_tiles(dataset_dir: str | Path | Sequence[str] | None, sample_dir: str | Path) -> Tiles | SeveralTiles:
    """The prepared dataset or datasets in `dataset_dir`, or where that is None the sample of real tissue.

    The sample is made in `sample_dir` where it is not there yet.

    Of the processes of one machine the first makes the sample.

    Raises:
        InputError: `dataset_dir` is no prepared dataset (see `Tiles`) or an empty list, several have one name, or the
            sample cannot be made.
    """
    if isinstance(dataset_dir, str) and dataset_dir[:1] == "[" and dataset_dir[-1:] == "]":  # Fire leaves paths as text
        dataset_dir = [path.strip().strip("'\"") for path in dataset_dir[1:-1].split(",")]
    if isinstance(dataset_dir, list | tuple):
        return SeveralTiles([Tiles(text("dataset_dir", each)) for each in dataset_dir])
    if dataset_dir is not None:
        return Tiles(str(dataset_dir))
    with idist.one_rank_first(local=True):
        return Tiles(prepare_sample(sample_dir))
