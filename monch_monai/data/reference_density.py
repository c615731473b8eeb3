"""The optical density of the tissue that a network is trained on."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monch_monai.data.readers import RGBReader
from monch_monai.data.tiles import Tiles
from monch_monai.geometry import NETWORK_MPP
from monch_monai.stain import shrunk, tissue_density

MOST_TILES = 500
"""Tiles, evenly spread, that the density of a larger training set is measured on."""


def record_reference_density(
    network: nn.Module, tiles: Tiles, folds: Sequence[str], known: list[float] | None = None
) -> list[float] | None:
    """Records in a network the optical density of the tissue that it is to be trained on, and returns it.

    The density is the median over tiles (`MOST_TILES` of them, where there are more), by channel, of `tissue_density`.
    None for a network without a place for it, or where there is no tissue.

    Args:
        network: its buffer `reference_density` `[3]` is changed.
        tiles: at 0.25 µm/px.
        folds: those trained on.
        known: recorded instead: that of the weights which training continues from, which tiles are lightened to.
    """
    place = getattr(network, "reference_density", None)
    if not isinstance(place, Tensor):
        return None
    if known is not None:
        place.copy_(torch.tensor(known))
        return known
    references = [item["image"] for item in tiles.items(folds)]
    chosen = np.linspace(0, len(references) - 1, min(MOST_TILES, len(references))).round().astype(int)
    reader = RGBReader()
    images = (reader.get_data(reader.read(references[i]))[0] for i in chosen)
    found = [tissue_density(shrunk(image, NETWORK_MPP)) for image in images]
    of_tiles = [density for density in found if density is not None]
    if not of_tiles:
        return None
    place.copy_(torch.from_numpy(np.median(of_tiles, axis=0)))
    recorded: list[float] = place.tolist()
    return recorded
