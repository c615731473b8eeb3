"""Which tiles an epoch of training draws: each once, or those with rare classes and tissues more often."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler, RandomSampler, Sampler, WeightedRandomSampler

from monch_monai.data.several import SeveralTiles
from monch_monai.data.tile_labels import TileLabels
from monch_monai.data.tiles import Tiles
from monch_monai.errors import InputError
from monch_monai.settings import fraction, whole_number

logger = logging.getLogger(__name__)


def balance(has_class: NDArray[np.bool_], tissues: Sequence[str], strength: float) -> NDArray[np.float64]:
    """Weights `[N]`, mean 1, that let rare classes and rare tissues be drawn more often.

    With strength `s`, of N tiles of which `n(t)` are of the tile's tissue and `n(c)` hold class `c`:

        w = 1 - s + s/2 (N / (T n(t)) + sum over the tile's classes c of N / (C n(c)))

    The tiles are of T tissues and hold C classes. At `s = 1` half of the weight is shared equally by the tissues, half
    by the classes; a tile without a nucleus counts as one of a class of its own. Tissue and class weighting with a
    strength follow the idea of CellViT (Hörst et al., 2024).

    Args:
        has_class: `[N, C]`, whether a tile holds a nucleus of each class.
        tissues: tissue of each tile, N.
        strength: `s`, 0 to 1.
    """
    count = len(tissues)
    kinds = np.column_stack([has_class, ~has_class.any(axis=1)]).astype(np.float64)
    tiles_with = kinds.sum(axis=0)
    present = tiles_with > 0
    of_class = kinds[:, present] @ (count / (present.sum() * tiles_with[present]))
    tiles_of = Counter(tissues)
    of_tissue = np.array([count / (len(tiles_of) * tiles_of[tissue]) for tissue in tissues])
    weights: NDArray[np.float64] = 1 - strength + strength / 2 * (of_tissue + of_class)
    return weights


def tile_sampler(
    tiles: Tiles | SeveralTiles,
    folds: Sequence[str],
    strength: float,
    labels: TileLabels,
    dataset_weights: Sequence[float] | None = None,
) -> Sampler[int]:
    """Sampler of an epoch's tiles, as many as the folds have.

    Args:
        tiles: the datasets.
        folds: those to draw from.
        strength: 0 draws each tile once; up to 1, tiles are drawn with replacement by the weights of `balance`.
        labels: of the datasets.
        dataset_weights: how much of an epoch each dataset has, relative to the others; None is by its tiles. Where
            given, tiles are drawn with replacement.

    Raises:
        InputError: the strength is not a number from 0 to 1, `dataset_weights` are not one positive number for each
            dataset, or the folds have tiles of several sizes.
    """
    sizes = {tiles.sizes[fold] for fold in folds}
    if len(sizes) > 1:
        raise InputError(
            f"training tiles of {', '.join(map(str, sorted(sizes)))} px: all must be of one size, so prepare them again"
        )
    weights = _weights(tiles, folds, strength, labels, dataset_weights)
    return RandomSampler(tiles.rows(folds)) if weights is None else WeightedRandomSampler(list(weights), len(weights))


class RankTileSampler(DistributedSampler[int]):
    """One process's share of an epoch's tiles, drawn as `tile_sampler` does.

    All processes draw the same order, from the seed and the epoch, and each of R takes every R-th tile of it. So with a
    strength of 0 the processes together draw no tile twice in an epoch. Where R does not divide the number of tiles,
    fewer than R of them, others each epoch, are left out.

    Args:
        tiles: the datasets.
        folds: those to draw from.
        strength: as in `tile_sampler`.
        labels: of the datasets.
        dataset_weights: as in `tile_sampler`.
        seed: of the run.
        num_replicas: R; None for the number of processes.
        rank: of this process; None for its own.

    Raises:
        InputError: see `tile_sampler`, or there are fewer tiles than processes.
    """

    def __init__(
        self,
        tiles: Tiles | SeveralTiles,
        folds: Sequence[str],
        strength: float,
        labels: TileLabels,
        dataset_weights: Sequence[float] | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(tiles.rows(folds), num_replicas, rank, shuffle=True, seed=seed, drop_last=True)  # type: ignore[arg-type]
        count = len(tiles.rows(folds))
        if count < self.num_replicas:
            raise InputError(
                f"{self.num_replicas} processes would share {count} training tiles: start {count} or fewer"
            )
        self.weights = _weights(tiles, folds, strength, labels, dataset_weights)

    def __iter__(self) -> Iterator[int]:
        """Indices of this process's tiles, in the epoch set last."""
        if self.weights is None:
            return super().__iter__()
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        drawn = torch.multinomial(torch.from_numpy(self.weights), self.total_size, True, generator=generator)
        return iter(drawn[self.rank :: self.num_replicas].tolist())


def tiles_at_once(batch_size: int, accumulation_steps: int = 1, processes: int = 1) -> int:
    """Tiles that a process passes through the network at once, so that a step of the optimiser sees `batch_size`.

    Args:
        batch_size: tiles a step.
        accumulation_steps: passes a step, whose gradients add up. MONAI ends an epoch that they do not divide with a
            step of fewer passes, each of which weighs as one of all.
        processes: number of processes that share each pass.

    Raises:
        InputError: `batch_size` is not a multiple of processes times accumulation steps, or the latter are below 1.
    """
    shares = whole_number("accumulation_steps", accumulation_steps, least=1) * processes
    if batch_size % shares:
        by = f"{processes} processes in {accumulation_steps} accumulation steps"
        raise InputError(f"batch_size {batch_size} cannot be shared by {by}: give a multiple of {shares}")
    return batch_size // shares


def evaluated_at_once(tiles: Tiles | SeveralTiles, folds: Sequence[str], batch_size: int) -> int:
    """Tiles of an evaluation that pass through the network together: `batch_size`, or 1 where folds differ in size."""
    return batch_size if len({tiles.sizes[fold] for fold in folds}) == 1 else 1


def _weights(
    tiles: Tiles | SeveralTiles,
    folds: Sequence[str],
    strength: float,
    labels: TileLabels,
    dataset_weights: Sequence[float] | None,
) -> NDArray[np.float64] | None:
    """How often each tile is drawn, on average; None where each is drawn once."""
    shares = _shares(dataset_weights, tiles)
    if fraction("sampling_strength", strength) == 0 and shares is None:
        return None
    parts = [(dataset, dataset.rows(inner)) for dataset, inner in tiles.parts(folds)]
    has_label = np.array([labels.of_row(row, dataset) for dataset, rows in parts for row in rows])
    weights = balance(has_label[:, 1:], [row["tissue"] for _, rows in parts for row in rows], strength)
    if shares is not None:
        of_dataset = np.concatenate([[tiles.datasets.index(dataset)] * len(rows) for dataset, rows in parts])
        totals = np.bincount(of_dataset, weights, len(shares))
        weights = weights * (len(weights) * shares / np.maximum(totals, 1e-9))[of_dataset]
    for value in range(1, len(labels.sets)):
        share, drawn = has_label[:, value].mean(), weights @ has_label[:, value] / len(weights)
        shown = strength, labels.sets.names[value], 100 * share, 100 * drawn
        logger.info("sampling strength %g: tiles with %s %.1f %%, drawn %.1f %%", *shown)
    return weights


def _shares(weights: Sequence[float] | None, tiles: Tiles | SeveralTiles) -> NDArray[np.float64] | None:
    """Share of an epoch of each dataset."""
    if weights is None:
        return None
    number, given = len(tiles.datasets), list(weights) if isinstance(weights, list | tuple) else [weights]
    usable = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < math.inf for v in given)
    if len(given) != number or not usable:
        raise InputError(f"dataset_weights is {weights!r}; give {number} numbers above 0, one for each of dataset_dir")
    shares: NDArray[np.float64] = np.array(given) / np.sum(given)
    return shares
