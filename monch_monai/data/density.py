"""Optical density of tissue: what a network was trained on, and how darker images are brought to it.

Laboratories stain and scan tissue up to twice as dark as one another, and a network takes nuclei of a darkness that it
never saw for background. So a checkpoint tells the optical density of the tissue it was trained on, and images that are
darker are lightened to it before the network sees them: each colour channel's optical density (Beer and Lambert, by the
natural logarithm) is multiplied by the ratio of both. The idea of bringing an image's colours to those of a reference
by their means is Reinhard's (2001). Paler images stay as they are: on held-out fields darkening cost more than it gave
(`bundle/docs/accuracy.md`).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from monch_monai.data.readers import RGBReader
from monch_monai.data.tiles import Tiles

TISSUE_MPP = 8.0
"""µm per pixel at which tissue is told from glass: nuclei and what lies between them are one."""
LEAST_DENSITY = 0.15
"""Mean optical density of the channels above which a pixel may be tissue; glass is below."""
LEAST_SATURATION = 0.04
"""Range of the colours over the largest above which a pixel may be tissue; grey glass is below."""
BLACK = 0.12
"""Largest colour, of 1, of a pixel that is no tissue: pen, dust, the edge of the scan."""
LEAST_PIXELS = 16
"""Pixels of `TISSUE_MPP`, 0.001 mm², below which tissue is too little to be judged by."""
MOST_TILES = 500
"""Tiles that a training set's density is taken from, evenly spread."""
FACTORS = "optical_density_times"
"""Under which an image's metadata tell by what its channels' optical density was multiplied, as text."""
TILE_MPP = 0.25
"""µm per pixel of prepared tiles."""


def tissue_density(small: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Mean optical density `[3]` of the tissue of an RGB image `[H, W, 3]` in small; None where it has hardly any.

    Args:
        small: at about `TISSUE_MPP`.
    """
    colours = small.reshape(-1, 3)
    density = -np.log((colours + 1.0) / 256)
    largest = colours.max(axis=1)
    coloured = np.ptp(colours, axis=1) > LEAST_SATURATION * largest
    tissue = density[(density.mean(axis=1) > LEAST_DENSITY) & coloured & (largest > BLACK * 255)]
    return tissue.mean(axis=0) if len(tissue) >= LEAST_PIXELS else None


def shrunk(image: NDArray[np.uint8], mpp: float) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` of `mpp` µm per pixel at about `TISSUE_MPP`, each pixel the mean of those it covers."""
    height, width = (max(1, round(n * mpp / TISSUE_MPP)) for n in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def lightening(small: NDArray[np.uint8] | None, reference: Sequence[float] | None) -> tuple[float, ...]:
    """What each channel's optical density is to be multiplied by, at most 1; 1 where either argument is None.

    Args:
        small: RGB image `[H, W, 3]` at about `TISSUE_MPP`.
        reference: mean optical density of tissue, by channel, that is wanted at most.
    """
    found = None if small is None or reference is None else tissue_density(small)
    if found is None or reference is None:
        return 1.0, 1.0, 1.0
    return tuple(min(1.0, float(wanted / has)) for wanted, has in zip(reference, found, strict=True))


def lightened(image: NDArray[np.uint8], factors: Sequence[float]) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` with each channel's optical density multiplied by its factor."""
    if all(factor == 1 for factor in factors):
        return image
    values = np.arange(256) / 255
    tables = [255 * values**factor for factor in factors]  # exp(-factor * od) is a power of exp(-od)
    return np.asarray(Image.fromarray(image).point(np.concatenate(tables).round().astype(int).tolist()))


class LightenTissued(MapTransform):
    """Lightens RGB images that are darker than the tissue a network was trained on.

    Images are `[3, H, W]` with whole values of 0 to 255; their metadata tell the factors, under `FACTORS`.

    Args:
        keys: of the images.
        reference: as of `lightening`; None leaves images as they are.
        mpp: of the images, µm per pixel.
    """

    def __init__(self, keys: KeysCollection, reference: Sequence[float] | None, mpp: float = TILE_MPP) -> None:
        super().__init__(keys)
        self.reference, self.mpp = reference, mpp

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Lightens the images of one dictionary."""
        item = dict(data)
        for key in self.key_iterator(item) if self.reference is not None else ():
            pixels = np.asarray(item[key]).astype(np.uint8).transpose(1, 2, 0)
            factors = lightening(shrunk(pixels, self.mpp), self.reference)
            item[key] = item[key].new_tensor(lightened(pixels, factors).transpose(2, 0, 1))
            if isinstance(item[key], MetaTensor):
                item[key].meta[FACTORS] = " ".join(f"{factor:.2f}" for factor in factors)
        return item


def note_density(
    network: nn.Module, tiles: Tiles, folds: Sequence[str], known: list[float] | None = None
) -> list[float] | None:
    """Lets a network that has a place for it keep the optical density of the tissue it is to be trained on.

    It is the median over tiles (`MOST_TILES` of them, where there are more), by channel, of `tissue_density`; returned
    too. None of another network, or where there is no tissue.

    Args:
        network: its buffer `trained_density` `[3]` is changed.
        tiles: at 0.25 µm/px.
        folds: of them, to be trained on.
        known: kept instead: that of the weights which training goes on from, which tiles are lightened to.
    """
    place = getattr(network, "trained_density", None)
    if not isinstance(place, Tensor):
        return None
    if known is not None:
        place.copy_(torch.tensor(known))
        return known
    references = [item["image"] for item in tiles.items(folds)]
    chosen = np.linspace(0, len(references) - 1, min(MOST_TILES, len(references))).round().astype(int)
    reader = RGBReader()
    images = (reader.get_data(reader.read(references[i]))[0] for i in chosen)
    found = [tissue_density(shrunk(image, TILE_MPP)) for image in images]
    of_tiles = [density for density in found if density is not None]
    if not of_tiles:
        return None
    place.copy_(torch.from_numpy(np.median(of_tiles, axis=0)))
    told: list[float] = place.tolist()
    return told
