"""Lightening as a transform of dictionaries, for tiles of a prepared dataset."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from PIL import Image

from monch_monai.geometry import NETWORK_MPP
from monch_monai.stain.density import lightened, lightening, tissue_density
from monch_monai.stain.tissue import DEFAULT_RULE, TISSUE_MPP


def shrunk(image: NDArray[np.uint8], mpp: float) -> NDArray[np.uint8]:
    """RGB image `[H, W, 3]` of `mpp` µm per pixel at about `TISSUE_MPP`, each pixel the mean of those it covers."""
    height, width = (max(1, round(n * mpp / TISSUE_MPP)) for n in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


class LightenTissued(MapTransform):
    """Lightens RGB images `[3, H, W]`, of whole values from 0 to 255, that are darker than the tissue trained on.

    Args:
        keys: of the images.
        reference_density: mean optical density of tissue, by channel; None leaves images as they are.
        mpp: of the images, µm per pixel.
    """

    def __init__(
        self, keys: KeysCollection, reference_density: Sequence[float] | None, mpp: float = NETWORK_MPP
    ) -> None:
        super().__init__(keys)
        self.reference_density, self.mpp = reference_density, mpp

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Lightens the images of one dictionary."""
        item = dict(data)
        for key in self.key_iterator(item) if self.reference_density is not None else ():
            pixels = np.asarray(item[key]).astype(np.uint8).transpose(1, 2, 0)
            small = shrunk(pixels, self.mpp)
            um2_per_px = self.mpp**2 * pixels.size / small.size
            factors = lightening(tissue_density(small, DEFAULT_RULE(small, um2_per_px)), self.reference_density)
            item[key] = item[key].new_tensor(lightened(pixels, factors).transpose(2, 0, 1))
        return item
