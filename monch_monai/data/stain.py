"""Stain augmentation: more or less haematoxylin, eosin and residual than there was."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from monch_monai.errors import InputError


def jitter_stain(image: Tensor, scale: Tensor, shift: Tensor, density: Tensor | float = 1.0) -> Tensor:
    """Image `[3, H, W]`, 0 to 1, with each stain's amount multiplied by `scale` `[3]` and raised by `shift` `[3]`.

    Then the optical density of the whole, or of each colour channel, is multiplied by `density`, a number or `[3]`.

    Amounts are those of Ruifrok and Johnston's (2001) colour deconvolution into haematoxylin, eosin and residual, with
    scikit-image's matrix: `-ln(image) = amounts @ rgb_from_hed`. All steps together are one product in optical
    density, `(od @ inverse @ diag(scale) @ matrix + shift @ matrix) * density`. The idea of jittering them is that of
    Tellez et al. (2018).
    """
    matrix, inverse = (torch.as_tensor(m, dtype=torch.float32) for m in (rgb_from_hed, hed_from_rgb))
    matrix = matrix * density
    mixed = torch.einsum("chw,cd->dhw", -torch.log(image.clamp(min=1 / 255)), inverse @ torch.diag(scale) @ matrix)
    return torch.exp(-(mixed + (shift @ matrix)[:, None, None])).clamp(0, 1)


class RandStainJitterd(RandomizableTransform, MapTransform):
    """Varies the amounts of haematoxylin, eosin and residual in RGB images `[3, H, W]` with values 0 to 1.

    Args:
        keys: of the images.
        strength: each stain's amount is multiplied by a number in 1 ± strength and raised by one in ± strength / 10;
            0.2 is plain to see, and 0 leaves the stains in the proportions they had.
        prob: how often.
        density_range: of the factor that the optical density of each colour channel is multiplied by, as
            thickness, staining time and scanner do from one laboratory to another. It is uniform in its logarithm, of
            which three quarters are common to the channels and a quarter is each channel's own.

    Raises:
        InputError: the range is not two numbers above 0, the smaller first.
    """

    def __init__(
        self,
        keys: KeysCollection,
        strength: float = 0.2,
        prob: float = 0.5,
        density_range: Sequence[float] = (1.0, 1.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.strength = strength
        self.log_density = _log_range(density_range)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Jitters the images of one dictionary, all alike."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform or (self.strength == 0 and not any(self.log_density)):
            return item
        scale = torch.as_tensor(1 + self.R.uniform(-1, 1, 3) * self.strength, dtype=torch.float32)
        shift = torch.as_tensor(self.R.uniform(-1, 1, 3) * self.strength / 10, dtype=torch.float32)
        log_density = 0.75 * self.R.uniform(*self.log_density) + 0.25 * self.R.uniform(*self.log_density, 3)
        density = torch.as_tensor(np.exp(log_density), dtype=torch.float32)
        for key in self.key_iterator(item):
            item[key] = jitter_stain(item[key], scale, shift, density)
        return item


def _log_range(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = 0.0
    if not 0 < low <= high < math.inf:
        raise InputError(f"density_range is {limits!r}; give two numbers above 0, the smaller first, as [0.7,2.5]")
    return math.log(low), math.log(high)
