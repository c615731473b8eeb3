"""An image of a file at the working resolution, and back: the steps of `inference.json` around the network."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monch_monai.geometry import NETWORK_MPP, Level0Box, Mpp, Size, WorkingGrid, working_grid
from monch_monai.slides.lightened import LightenedSlide, tissue_and_lightening
from monch_monai.slides.pixels import grid_of, read_working
from monch_monai.slides.slide import ImageSlide

PIXELS = "pixels"
"""Key under which an image is kept as it is, uint8, to be drawn on."""
SIZE, FACTORS = "image_size", "optical_density_times"
"""Names in an image's metadata: its width and height; by what its channels' optical density was multiplied, as text."""


class AtWorkingResolutiond(MapTransform):
    """Lightens RGB images `[3, H, W]`, of whole values from 0 to 255, and resamples them to the network's resolution.

    The metadata record the size that an image had, and its factors: under `SIZE` and `FACTORS`.

    Args:
        keys: of the images.
        mpp: of the images, µm per pixel.
        reference_density: mean optical density of the tissue trained on, by channel; None leaves images as dark as
            they are.

    Raises:
        InputError: `mpp` is no resolution.
    """

    def __init__(
        self, keys: KeysCollection, mpp: float = NETWORK_MPP, reference_density: Sequence[float] | None = None
    ) -> None:
        super().__init__(keys)
        self.mpp, self.reference_density = Mpp(mpp, mpp), reference_density

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Changes the images of one dictionary."""
        item = dict(data)
        for key in self.key_iterator(item):
            slide = ImageSlide(np.asarray(item[key]).astype(np.uint8).transpose(1, 2, 0), self.mpp.x)
            grid = grid_of(slide)
            _, factors = tissue_and_lightening(slide, grid, self.reference_density, None)
            pixels = read_working(LightenedSlide(slide, factors), grid, grid.box)
            meta = dict(getattr(item[key], "meta", {}))
            meta[SIZE] = list(slide.size)
            if self.reference_density is not None:
                meta[FACTORS] = " ".join(f"{factor:.2f}" for factor in factors)
            item[PIXELS] = torch.from_numpy(slide.pixels.transpose(2, 0, 1).copy())
            item[key] = MetaTensor(torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)), meta=meta)
        return item


class AtImageSized(MapTransform):
    """Brings class maps `[..., H, W]` at the working resolution back to the size of their image, by nearest pixels.

    Args:
        keys: of the class maps.
        image_key: of the image, whose metadata `AtWorkingResolutiond` wrote.
        mpp: of the image, µm per pixel.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", mpp: float = NETWORK_MPP) -> None:
        super().__init__(keys)
        self.image_key, self.mpp = image_key, mpp

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Changes the class maps of one dictionary."""
        item = dict(data)
        grid, whole = image_grid(item[self.image_key].meta, self.mpp)
        rows, columns = grid.pixel_at(whole)
        for key in self.key_iterator(item):
            item[key] = item[key][..., rows[:, None], columns[None, :]]
        return item


def image_grid(meta: Mapping[str, Any], mpp: float) -> tuple[WorkingGrid, Level0Box]:
    """Working pixels of an image by its metadata, and its box at level 0."""
    width, height = (int(n) for n in meta[SIZE])
    return working_grid(Size(width, height), Mpp(mpp, mpp)), Level0Box(0, 0, width, height)
