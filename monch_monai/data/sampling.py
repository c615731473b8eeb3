"""Which tiles an epoch of training draws: each once, or those with rare classes and tissues more often."""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

from monch_monai.classes import NUCLEUS_CLASSES
from monch_monai.data.tiles import Tiles
from monch_monai.settings import fraction

logger = logging.getLogger(__name__)


def balance(has_class: NDArray[np.bool_], tissues: Sequence[str], strength: float) -> NDArray[np.float64]:
    """Weights `[N]`, mean 1, that let rare classes and rare tissues be drawn more often.

    With strength `s`, of N tiles of which `n(t)` are of the tile's tissue and `n(c)` hold class `c`:

        w = 1 - s + s/2 (N / (T n(t)) + sum over the tile's classes c of N / (C n(c)))

    T tissues and C classes are there. At `s = 1` half of the weight is shared equally by the tissues, half by the
    classes; a tile without a nucleus counts as one of a class of its own. Tissue and class weighting with a strength
    follow the idea of CellViT (Hörst et al., 2024).

    Args:
        has_class: `[N, C]`, whether a tile holds a nucleus of each class.
        tissues: tissue of each tile, N.
        strength: `s`, 0 to 1.
    """
    count = len(tissues)
    kinds = np.column_stack([has_class, ~has_class.any(axis=1)]).astype(np.float64)
    tiles_with = kinds.sum(axis=0)
    there = tiles_with > 0
    of_class = kinds[:, there] @ (count / (there.sum() * tiles_with[there]))
    tiles_of = Counter(tissues)
    of_tissue = np.array([count / (len(tiles_of) * tiles_of[tissue]) for tissue in tissues])
    weights: NDArray[np.float64] = 1 - strength + strength / 2 * (of_tissue + of_class)
    return weights


def tile_sampler(tiles: Tiles, folds: Sequence[str], strength: float) -> Sampler[int]:
    """Sampler of an epoch's tiles, as many as there are.

    Args:
        tiles: the dataset.
        folds: those to draw from.
        strength: 0 draws each tile once; up to 1, tiles are drawn with replacement by the weights of `balance`.

    Raises:
        InputError: the strength is not a number from 0 to 1.
    """
    fraction("sampling_strength", strength)
    rows = tiles.rows(folds)
    if strength == 0:
        return RandomSampler(rows)
    has_class = np.array([[row[f"{c.name}_nuclei"] != "0" for c in NUCLEUS_CLASSES] for row in rows])
    weights = balance(has_class, [row["tissue"] for row in rows], strength)
    for c, there, drawn in zip(NUCLEUS_CLASSES, has_class.mean(axis=0), weights @ has_class / len(rows), strict=True):
        logger.info(
            "sampling strength %g: tiles with %s nuclei %.1f %%, drawn %.1f %%",
            strength,
            c.name,
            100 * there,
            100 * drawn,
        )
    return WeightedRandomSampler(weights.tolist(), len(rows))
